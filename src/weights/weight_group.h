// What the stream moves: a named group of tensors with a size. A decoder layer is one, the head
// another; later an expert can be one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/quantized_tensor.h"
#include "checkpoint/tensor_info.h"
#include "checkpoint/tensor_stack.h"
#include "quant/bnb_parity.h"
#include "quant/weight_form.h"
#include "tensor/device.h"
#include "weights/cached_weight.h"

namespace shoehorn {

/// One weight as the forward pass will meet it.
struct WeightSpec {
  std::string path;  // state_dict name
  Shape shape;       // of the weight, however it is stored
  /// Where its values come from: one of the three, owned by the checkpoint and by whoever resolved
  /// the model; none: the model has no such tensor.
  const TensorInfo* source = nullptr;
  /// Owns `source` where that is not the checkpoint's own tensor but a view of it.
  std::shared_ptr<const TensorInfo> view = nullptr;
  std::shared_ptr<const QuantizedTensor> quantized = nullptr;
  std::shared_ptr<const TensorStack> stack = nullptr;  // of a shape [matrices, N, K]
  WeightForm form;                                     // in memory
  WeightCompute compute = {};
  BnbParity parity = BnbParity::kNone;  // of what is quantized on the way in
  /// Its bytes in the weight cache, shared with the cache that wrote them; null: not there.
  std::shared_ptr<const CachedWeight> cached = nullptr;
  Device device;  // kDisk: streamed
  /// Rows are looked up one by one (an embedding): on disk, it is neither resident nor streamed.
  bool rows_only = false;
  /// Names another spec, by its position in all groups one after the other, whose bytes this one
  /// shares; -1: its own.
  int tied_to = -1;

  bool exists() const { return source != nullptr || quantized != nullptr || stack != nullptr; }
  /// Quantized from plain tensors while it is read.
  bool is_quantized_on_load() const {
    const bool plain = source != nullptr || (stack != nullptr && stack->quantized.empty());
    return plain && form.is_quantized();
  }
  /// Matrix i of a stack as a weight of its own.
  WeightSpec matrix(std::int64_t i) const;
};

struct WeightGroup {
  std::string name;  // "model.layers.3"
  std::vector<WeightSpec> weights;
};

/// Bytes of a weight in its form; 0 for one that does not exist.
std::size_t form_bytes(const WeightSpec& weight);

/// Bytes that bringing a weight from disk reads.
std::size_t stored_bytes(const WeightSpec& weight);

/// True if a weight is brought from disk for every pass.
bool is_streamed(const WeightSpec& weight);

/// Bytes that bringing a group's streamed weights from disk reads.
std::size_t streamed_stored_bytes(const WeightGroup& group);

}  // namespace shoehorn
