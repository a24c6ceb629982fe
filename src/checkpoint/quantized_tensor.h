// Quantized weights as they lie in a checkpoint: the packed bytes under the weight's own name and
// their scales under names made of it, anywhere in the files (bitsandbytes' QuantState.as_dict and
// Linear8bitLt's state dict; 8-bit floats in tiles; MXFP4).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// A stored tensor that becomes a run of bytes of the weight in memory (weight_form.h).
struct QuantizedPart {
  enum class Kind {
    kBytes,             // as stored: packed values, nested codes
    kFloats,            // F32, F16 or BF16, in memory float32; must be finite
    kTransposedFloats,  // [K / blocksize, N], as bitsandbytes saves absmax after a CPU forward
    kMxfp4,             // blocks of nibbles, which with their `scales` become GGUF's MXFP4 blocks
  };
  const TensorInfo* info = nullptr;  // owned by the checkpoint
  std::size_t offset = 0;            // in memory
  std::size_t bytes = 0;             // in memory
  Kind kind = Kind::kBytes;
  const TensorInfo* scales = nullptr;  // kMxfp4
};

/// Values that no tensor holds: nested_offset of the quant_state, tables that the file leaves out.
struct QuantizedConstant {
  std::size_t offset = 0;  // in memory
  std::vector<float> values;
};

struct QuantizedTensor {
  std::string path;  // "model.layers.0.mlp.down_proj.weight"
  WeightForm form;
  Shape shape;  // of the weight that was quantized: [N, K], or a stack of these
  std::vector<QuantizedPart> parts;  // the packed bytes first
  std::vector<QuantizedConstant> constants;
  std::vector<const TensorInfo*> tensors;  // all that belong to it, its quant_state too

  /// Bytes that its tensors take in the files.
  std::size_t stored_bytes() const;
};

/// All quantized weights of a checkpoint.
class QuantizedTensors {
 public:
  /// Reads every quant_state and checks every part. Throws FormatError naming the tensor that is
  /// missing, has another size or type than its weight asks for, or does not parse;
  /// UnsupportedError for a quant_type or weight_format that is not known, listing those that are,
  /// FormatError for a config.json whose quantization_config has no sense.
  explicit QuantizedTensors(const Checkpoint& checkpoint);

  /// By the weight's name in the checkpoint; nullptr where it is not quantized. Shared with the
  /// weights that a store loads, which outlive this table.
  std::shared_ptr<const QuantizedTensor> find(std::string_view path) const;
  bool empty() const { return tensors_.empty(); }
  const std::vector<std::shared_ptr<const QuantizedTensor>>& all() const { return tensors_; }
  /// What a user should be told of them.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void add(QuantizedTensor tensor);

  std::vector<std::shared_ptr<const QuantizedTensor>> tensors_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views into tensors_
  std::vector<std::string> notes_;
};

}  // namespace shoehorn
