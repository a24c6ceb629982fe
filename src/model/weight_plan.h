// From an architecture and a checkpoint to what has to be loaded: which stored tensor each weight
// is, in which form it will be in memory, what it costs, and, once a device map says where, the
// groups that a WeightStore loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/architecture.h"
#include "plan/module_tree.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// One parameter of the tree as it will be used.
struct ResolvedWeight {
  std::string path;                    // of the tree
  const TensorInfo* source = nullptr;  // the stored tensor; a tied alias has its owner's
  DType form = DType::kF32;            // in memory
  std::size_t group = 0;               // of Architecture::weight_groups()
};

struct ResolvedModel {
  ModuleTree tree;  // parameters in the dtype they have in the file, or asked for
  DType dtype;      // that most bytes of the matrices have, or that was asked for
  std::vector<WeightGroupNames> groups;
  std::vector<ResolvedWeight> weights;  // every parameter, tied aliases too, in the groups' order
  std::vector<std::string> notes;       // what a user should be told of the match
};

/// Holds names and shapes of the checkpoint against the module tree, before a byte of weights is
/// read. `dtype`: nothing means as stored (float64 becomes float32). Throws one FormatError that
/// lists all that is missing or has another shape; with `strict` also what is left over.
ResolvedModel resolve_model(const Architecture& architecture, const Checkpoint& checkpoint,
                            std::optional<DType> dtype, bool strict);

/// Bytes of a weight in memory.
std::size_t resident_bytes(const ResolvedWeight& weight);

/// True for the embedding: its rows are looked up one by one.
bool is_looked_up(const ResolvedWeight& weight);

/// The groups to load, given the device of every parameter path.
std::vector<WeightGroup> place_weights(
    const ResolvedModel& model, const std::function<Device(std::string_view path)>& device_of);

/// Where each group is computed: on the accelerator that holds most of its bytes, else on the CPU.
std::vector<Device> compute_devices(const std::vector<WeightGroup>& groups);

}  // namespace shoehorn
