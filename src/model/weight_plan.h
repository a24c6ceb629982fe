// From an architecture and a checkpoint to what has to be loaded: which stored tensor each weight
// is, in which form it will be in memory, what it costs, and, once a device map says where, the
// groups that a WeightStore loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shoehorn/quantization.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/quantized_tensor.h"
#include "checkpoint/tensor_stack.h"
#include "model/architecture.h"
#include "model/quantization.h"
#include "plan/module_tree.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// One parameter of the tree as it will be used.
struct ResolvedWeight {
  std::string path;  // of the tree
  Shape shape;
  const TensorInfo* source = nullptr;  // the stored tensor; a tied alias has its owner's
  const TensorInfo* stored = nullptr;  // the checkpoint's own tensor that `source` is or shows
  std::shared_ptr<const TensorInfo> view = nullptr;  // owns source where it is a transposed view
  bool is_transposed = false;  // shape is [out, in] where the tree has a Conv1D's [in, out]
  std::shared_ptr<const QuantizedTensor> quantized = nullptr;  // in place of source
  std::shared_ptr<const TensorStack> stack = nullptr;          // likewise: experts one by one
  WeightForm form;                                             // in memory
  /// Of a linear weight that may have another form (it is stored plainly, and no rule leaves it as
  /// it is): the type that it is rounded to first. Nothing for the others.
  std::optional<DType> tiered_dtype = {};
  std::size_t group = 0;  // of Architecture::weight_groups()
  double used = 1;  // the share of it that a token meets: experts that are not chosen are not read
};

/// What may be asked of resolve_model().
struct ResolveOptions {
  std::optional<DType> dtype = {};                   // nothing: as stored (float64 becomes float32)
  bool strict = false;                               // unexpected tensors are an error
  const BitsAndBytesConfig* quantization = nullptr;  // what to quantize into; null: nothing
  bool quantize_experts = true;                      // those of mixtures too
  /// Which linear weights may have another form (TierForms): what this leaves out may not. Null:
  /// none may.
  const BitsAndBytesConfig* tiers = nullptr;
};

struct ResolvedModel {
  ModuleTree tree;  // parameters in the dtype they have in the file, or asked for
  DType dtype;      // that most bytes of the matrices have, or that was asked for
  std::vector<WeightGroupNames> groups;
  std::vector<ResolvedWeight> weights;  // every parameter, tied aliases too, in the groups' order
  std::vector<std::string> notes;       // what a user should be told of the match
  /// Why a linear module is not quantized, by its path; empty where nothing is.
  std::map<std::string, std::string> kept_linears;
  QuantType quant_type = QuantType::kNone;  // of the first quantized weight
  bool quantized_checkpoint = false;        // it was stored so

  /// "nf4", "mxfp4", ...: what messages call how it is quantized.
  std::string quantization() const {
    if (quant_type == QuantType::kNone && quantized_checkpoint) return "mxfp4";
    return std::string(to_string(quant_type));
  }
};

/// Holds names and shapes of the checkpoint against the module tree, before a byte of weights is
/// read. Throws one FormatError that lists all that is missing or has another shape; with `strict`
/// also what is left over; and what QuantizedTensors throws.
ResolvedModel resolve_model(const Architecture& architecture, const Checkpoint& checkpoint,
                            const ResolveOptions& options);

/// Bytes of a weight in memory, and of what is read to bring it there when it is streamed.
std::size_t resident_bytes(const ResolvedWeight& weight);
std::size_t streamed_bytes(const ResolvedWeight& weight);
/// The same, had it the form `form`.
std::size_t resident_bytes(const ResolvedWeight& weight, const WeightForm& form);
std::size_t streamed_bytes(const ResolvedWeight& weight, const WeightForm& form);

/// What two weights with equal ones of share: their bytes in memory.
using StorageId = std::pair<const void*, QuantType>;
StorageId storage_of(const ResolvedWeight& weight);

/// True for the embedding: its rows are looked up one by one.
bool is_looked_up(const ResolvedWeight& weight);

/// The groups to load, given the device of every parameter path, and how weights of each kind are
/// multiplied and made.
std::vector<WeightGroup> place_weights(
    const ResolvedModel& model, const std::function<Device(std::string_view path)>& device_of,
    const std::function<WeightCompute(QuantType)>& compute_of, BnbParity parity = BnbParity::kNone);

/// Where each group is computed: on the accelerator that holds most of its bytes, else on the CPU.
std::vector<Device> compute_devices(const std::vector<WeightGroup>& groups);

}  // namespace shoehorn
