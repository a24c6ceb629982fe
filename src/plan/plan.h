// What the default planner takes and returns: the costs of a model on a machine, and a device map
// with the bytes and the time it stands for.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plan/device_map.h"
#include "plan/module_tree.h"
#include "plan/reference_plan.h"

namespace shoehorn {

/// What the CPU takes to multiply a weight, measured; zeros: by the device's rates.
struct ProductTimes {
  double pass_s = 0;  // with the rows of a decode pass
  double row_s = 0;   // a row of a long prompt
};

/// What attention of a layer takes in host memory, for the whole batch. 0: not known; the bytes of
/// its cache then say it.
struct AttentionTimes {
  double pass_s = 0;    // of a decode pass
  double prompt_s = 0;  // of one prompt of PlanInput::prefill_tokens
};

/// A weight as it is on one device, where that differs from the others.
struct TierCost {
  std::size_t resident_bytes = 0;
  ProductTimes times = {};
  std::string form = {};
};

/// One tensor of the tree. A tied tensor is listed once, under any of its names.
struct WeightCost {
  std::string path;
  std::size_t resident_bytes = 0;  // in memory, in the form it is computed with, scales included
  /// Read from disk in every pass while it is disk-mapped; with rows_only, in every token.
  std::size_t streamed_bytes = 0;
  /// Its share of a staging slot while it is disk-mapped: the bytes read and, where they must be
  /// decoded or converted, what they become.
  std::size_t staging_bytes = 0;
  /// Of one thread in every pass while it is disk-mapped: converting what was read, or comparing
  /// its checksum.
  double handling_s = 0;
  double flops_per_token = 0;
  /// The share that a token of a decode pass reads where it is resident: experts that are not
  /// chosen are not.
  double used_share = 1;
  /// An embedding table: a token reads one row. On disk it takes no staging.
  bool rows_only = false;
  ProductTimes times = {};
  std::string form = {};  // "BF16", "nf4": for people
  /// Devices, disk among them, where it has another form: that of disk is what streamed_bytes and
  /// staging_bytes are of.
  std::map<DeviceKey, TierCost> tiers = {};

  /// In memory, while it lives on `device`.
  std::size_t bytes_on(DeviceKey device) const;
  ProductTimes times_on(DeviceKey device) const;
  const std::string& form_on(DeviceKey device) const;
};

/// Bytes and operations per second. 0: not known; the planner then assumes a usual machine's.
struct DeviceRates {
  double memory_bytes_per_s = 0;
  double flops_per_s = 0;
  double link_bytes_per_s = 0;  // an accelerator's connection to host memory
};

/// A device weights may be resident on: an accelerator or the CPU.
struct PlanDevice {
  std::size_t limit_bytes = 0;
  std::size_t workspace_bytes =
      0;                          // activations and scratch, as soon as anything is computed there
  std::size_t process_bytes = 0;  // binary, libraries, tokenizer; a CUDA context
  /// An accelerator with its own memory: slots for weights that come over its link, where some do.
  std::size_t link_staging_bytes = 0;
  /// A virtual accelerator: its bytes count against the CPU's limit too, and no link is crossed.
  bool host_memory = false;
  DeviceRates rates = {};
};

enum class StreamUnit { kLayer, kLeafModule };

struct PlanInput {
  const ModuleTree* tree = nullptr;  // must outlive the call
  std::vector<WeightCost> weights = {};
  /// Decoder layers in the order of execution; may be empty.
  std::vector<std::string> layer_paths = {};
  /// For the declared context and batch; as long as layer_paths, or empty for none.
  std::vector<std::size_t> kv_bytes_per_layer = {};
  /// What a decode pass reads of them: less where a layer sees a window. As long as layer_paths, or
  /// empty for a half of each, as it is on average.
  std::vector<std::size_t> kv_read_bytes_per_layer = {};
  /// As long as layer_paths, or empty for none known.
  std::vector<AttentionTimes> attention_times = {};
  /// Where weights may be resident. Disk is always there and holds everything. Without an entry for
  /// the CPU nothing is resident in host memory.
  std::map<DeviceKey, PlanDevice> devices = {};
  double disk_bytes_per_s = 0;
  double disk_latency_s = 0;    // of a read, beside its bytes' time
  int threads = 1;              // of the CPU
  double sync_s_per_pass = 0;   // fixed cost of a pass
  double sync_s_per_layer = 0;  // of a layer: what is not a product with weights
  double sync_s_per_hop = 0;    // each change of device within a pass

  Strategy strategy = Strategy::kAuto;
  int staging_slots = 3;
  int min_staging_slots = 2;  // where staging_slots do not fit
  /// The smallest unit the stream can move. Layers are preferred.
  StreamUnit smallest_stream_unit = StreamUnit::kLeafModule;
  /// Whether single modules of a layer may live elsewhere than the rest of it.
  bool split_layers = true;
  /// Kept free inside the CPU's limit: fraction × limit + bytes.
  double reserve_fraction = 0.02;
  std::size_t reserve_bytes = std::size_t{64} << 20;

  std::size_t batch = 1;                    // sequences that advance together
  std::size_t max_context = 0;              // what kv_bytes_per_layer was computed for; 0: unknown
  std::size_t predicted_position = 0;       // of the token that decode_tok_s is predicted for
  std::size_t prefill_tokens = 512;         // the prompt that prefill_tok_s is predicted for
  std::size_t kv_disk_bytes_per_token = 0;  // of layers whose cache lies on disk
};

/// What a device holds. For disk, `weights` is what it stores for us and the rest is 0.
struct DeviceUse {
  DeviceKey device;
  std::size_t limit_bytes = 0;
  std::size_t weights = 0;
  std::size_t kv_cache = 0;
  std::size_t workspace = 0;
  std::size_t staging = 0;
  std::size_t process = 0;
  std::size_t reserve = 0;
  std::size_t host_backed = 0;  // the CPU only: bytes of accelerators made of host memory

  /// What will be allocated.
  std::size_t used() const {
    return weights + kv_cache + workspace + staging + process + host_backed;
  }
  /// What must fit the limit.
  std::size_t total() const { return used() + reserve; }
};

/// Seconds of one decode pass: about max(disk, link, busy) + sync, busy being the sum over the
/// steps of what computing takes, and exactly what pass_timeline.h makes of the steps.
struct Prediction {
  double decode_tok_s = 0;
  double prefill_tok_s = 0;
  std::string bound_by;  // decode: "disk", "link", "memory" or "compute"
  double disk_s = 0;
  double link_s = 0;
  double memory_s = 0;
  double compute_s = 0;
  double busy_s = 0;
  double sync_s = 0;
  double pass_s = 0;
};

/// A layer, or a module outside the layers, in a decode pass.
struct PlanStep {
  std::string path;
  int layer = -1;    // position in layer_paths
  DeviceKey device;  // that computes it
  /// Where its weights live, in which form, and how large that is in memory.
  std::map<DeviceKey, std::map<std::string, std::size_t>> bytes_on = {};
  std::size_t disk_bytes = 0;    // read for a pass
  std::size_t memory_bytes = 0;  // of weights that are multiplied
  double read_s = 0;
  double compute_s = 0;
  double prefill_s = 0;  // computing, of PlanInput::prefill_tokens tokens
};

/// What the stream moves at once, in order of execution: tensors that share a staging slot.
struct StreamGroup {
  std::string path;                       // the layer or module they belong to
  std::vector<std::size_t> weights = {};  // indices into PlanInput::weights
  std::size_t streamed_bytes = 0;
  std::size_t slot_bytes = 0;
};

struct Plan {
  DeviceMap device_map;
  /// Where each of layer_paths is computed; its KV cache is there too. The device that holds most
  /// of its bytes; for a layer that is all on disk the CPU.
  std::vector<DeviceKey> layer_devices;
  std::vector<DeviceUse> devices;  // accelerators, cpu, disk
  std::vector<StreamGroup> stream_groups;
  int staging_slots = 0;  // of the largest group's slot_bytes each; 0 where nothing streams
  std::size_t footprint_bytes = 0;  // all weights in the form they are computed with
  std::size_t kv_cache_bytes = 0;
  std::size_t workspace_bytes = 0;
  std::size_t staging_bytes = 0;
  std::size_t streamed_bytes_per_token = 0;
  Prediction predicted;
  std::vector<PlanStep> steps;     // in the order of a pass
  std::vector<std::string> notes;  // for people: what was decided and why
};

}  // namespace shoehorn
