// All that is known of a model before a byte of its weights is read: the checkpoint's headers held
// against the architecture, the limits, and the plan. from_pretrained, plan and inspect start here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shoehorn/model.h"
#include "shoehorn/options.h"
#include "shoehorn/tokenizer.h"

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "model/adapter.h"
#include "model/architecture.h"
#include "model/tier_forms.h"
#include "model/weight_plan.h"
#include "plan/device_key.h"
#include "plan/plan.h"
#include "weights/device_memory.h"

namespace shoehorn {

/// A checkpoint whose headers fit its architecture.
struct OpenedModel {
  std::unique_ptr<const Checkpoint> checkpoint;
  std::unique_ptr<const Architecture> architecture;
  ResolvedModel resolved;
  std::unique_ptr<AdapterSet> adapters;                // null where none was asked for
  WeightCompute compute;                               // of quantized weights
  std::function<WeightCompute(QuantType)> compute_of;  // of those of one kind
  std::string compute_note;  // what was chosen for the user; empty where nothing was
  BnbParity parity = BnbParity::kNone;
  std::unique_ptr<const Tokenizer> tokenizer;  // null where the checkpoint has none
  std::vector<std::string> notes;
};

OpenedModel open_model(const std::string& model, const LoadOptions& options);

/// What a session and a pass may take.
struct RunShape {
  DType kv_dtype = DType::kF32;
  std::vector<bool> spilled_layers = {};  // whose KV cache lies on disk; empty: none
  std::int64_t max_context = 0;
  std::int64_t max_batch = 1;
  std::int64_t max_rows = 0;     // of a pass
  std::int64_t flight_rows = 0;  // of passes that take turns at each group, on the CPU's route
  int threads = 1;
  Isa isa = Isa::kRef;
  std::size_t workspace_bytes = 0;       // on the CPU and every virtual device that computes
  std::int64_t card_rows = 0;            // of a pass that CUDA devices compute
  std::size_t card_workspace_bytes = 0;  // on every CUDA device that computes
};

/// For commands that place nothing. Throws ArgumentError where the options have a tier_dtype.
void refuse_tiers(const LoadOptions& options, const std::string& command);

RunShape run_shape(const OpenedModel& opened, const LoadOptions& options);

/// Bytes of the KV cache of one sequence of `positions` positions.
std::size_t kv_cache_bytes(const OpenedModel& opened, const RunShape& shape,
                           std::int64_t positions);

/// Passes on CUDA devices, for a machine that has some: as many rows as keep their workspace small
/// beside the smallest of `limits`.
void set_card_shape(const OpenedModel& opened, const std::vector<std::size_t>& limits,
                    RunShape& shape);

/// The devices that a plan may use, and how fast they are.
struct Machine {
  std::vector<Accelerator> accelerators;  // in the order of their numbers
  /// How many of them are of each kind.
  AcceleratorCounts counts() const;
  /// Those of an accelerator's number; null where only --assume says that it is there.
  const Accelerator* accelerator(DeviceKey key) const;
  std::map<DeviceKey, PlanDevice> devices;
  double disk_bytes_per_s = 0;
  double disk_latency_s = 0;
};

struct PreparedModel {
  OpenedModel opened;
  RunShape shape;
  Machine machine;
  TierForms tiers;
  PlanInput plan_input;  // its tree is opened.resolved.tree; null once that was moved on
  Plan plan;

  PreparedModel() = default;
  // plan_input refers to the tree within.
  PreparedModel(PreparedModel&&) = delete;
  PreparedModel& operator=(PreparedModel&&) = delete;

  /// The device of a parameter path, as the plan has it.
  Device device_of(std::string_view path) const;
  HfDeviceMap hf_device_map() const;
  Device device_of(DeviceKey key) const;
};

/// Opens and plans. `assume` as in PlanOptions. With `measure`, the predicted times come from rates
/// measured now; without, from a usual machine's: the placement is the same, since only the ratios
/// of devices matter for it, but for a larger staging ring where measured rates make one worth it.
/// `others_bytes` of host memory are kept for what is not this model's. Throws PlanError where the
/// model cannot be placed, saying what would fit.
std::unique_ptr<PreparedModel> prepare_model(const std::string& model, const LoadOptions& options,
                                             const std::string& assume, bool measure,
                                             std::size_t others_bytes = 0);

/// The same without telling notes, and without a look for what would fit.
std::unique_ptr<PreparedModel> place_model(const std::string& model, const LoadOptions& options,
                                           const std::string& assume, bool measure,
                                           std::size_t others_bytes);

}  // namespace shoehorn
