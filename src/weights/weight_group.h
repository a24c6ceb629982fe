// What the stream moves: a named group of tensors with a size. A decoder layer is one, the head
// another; later an expert can be one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/tensor_info.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// One weight as the forward pass will meet it.
struct WeightSpec {
  std::string path;  // state_dict name
  const TensorInfo* source =
      nullptr;               // owned by the checkpoint; null: the model has no such tensor
  DType form = DType::kF32;  // dtype in memory
  Device device;             // kDisk: streamed
  /// Rows are looked up one by one (an embedding): on disk, it is neither resident nor streamed.
  bool rows_only = false;
  /// Names another spec, by its position in all groups one after the other, whose bytes this one
  /// shares; -1: its own.
  int tied_to = -1;
};

struct WeightGroup {
  std::string name;  // "model.layers.3"
  std::vector<WeightSpec> weights;
};

/// Bytes of a weight in its form.
std::size_t form_bytes(const WeightSpec& weight);

/// True if a weight is brought from disk for every pass.
bool is_streamed(const WeightSpec& weight);

/// Bytes of a group's weights that have to be streamed, each rounded up to the alignment of slots.
std::size_t streamed_bytes(const WeightGroup& group);

}  // namespace shoehorn
