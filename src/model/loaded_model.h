// A model that can run: its architecture, its weights where the plan put them, and the passes over
// them. Long prompts are cut into passes of a bounded number of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "model/adapter.h"
#include "model/architecture.h"
#include "model/recorded_passes.h"
#include "model/runtime.h"
#include "weights/device_memory.h"
#include "weights/weight_store.h"

namespace shoehorn {

/// What a LoadedModel is made of.
struct ModelParts {
  std::unique_ptr<const Checkpoint> checkpoint;
  std::unique_ptr<const Architecture> architecture;
  std::vector<WeightGroup> groups;
  /// Of calls of few rows first; the last takes any number.
  std::vector<Route> routes;
  std::vector<Device> kv_devices;  // where each layer's cache lies
  std::unique_ptr<DeviceMemory> memory;
  std::unique_ptr<ThreadPool> pool;
  Isa isa = Isa::kRef;
  DType kv_dtype = DType::kF32;
  std::vector<bool> spilled_layers = {};    // whose caches lie on disk; empty: none
  std::filesystem::path spill_folder = {};  // where
  std::int64_t spill_positions = 0;         // of a spilled cache at most
  std::int64_t max_rows = 512;              // of one pass
  std::int64_t flight_rows = 512;           // of the passes that take turns at each group
  std::int64_t card_rows = 2048;            // of one whose layers are all computed on CUDA devices
  std::size_t workspace_bytes = 0;          // on the CPU and each virtual device
  std::size_t card_workspace_bytes = 0;     // on each CUDA device
  std::unique_ptr<AdapterSet> adapters = nullptr;  // null: none
  WeightStore::Options weights = {};
};

/// Rows of a pass: enough for the matrix products to be bound by arithmetic, few enough for the
/// workspace to stay small.
std::int64_t pass_rows(std::int64_t max_context, std::int64_t max_batch);

/// Scratch on a device of host memory of passes of `max_rows` rows, kernels included, that take
/// turns until `flight_rows` are under way.
std::size_t pass_workspace_bytes(const Architecture& architecture, std::int64_t max_rows,
                                 std::int64_t flight_rows, std::int64_t max_context, int threads);

/// The same on a CUDA device: its kernels', the pass's tables, a step of logits, and one layer's
/// cache of one sequence, for where that lies in host memory.
std::size_t card_workspace_bytes(const Architecture& architecture, std::int64_t max_rows,
                                 std::int64_t max_batch, std::int64_t max_context, DType kv_dtype);

/// Host memory through which the spilled layers of caches of `positions` positions are used.
std::size_t kv_window_bytes(const Architecture& architecture, DType kv_dtype,
                            std::int64_t positions);

/// Thread-safe: passes run one after the other.
class LoadedModel {
 public:
  /// Loads the weights. Throws FileError, DeviceError.
  explicit LoadedModel(ModelParts parts);

  const Architecture& architecture() const { return *parts_.architecture; }
  const Checkpoint& checkpoint() const { return *parts_.checkpoint; }
  const WeightStore& weights() const { return *weights_; }
  DeviceMemory& memory() const { return *parts_.memory; }
  const std::vector<Route>& routes() const { return parts_.routes; }

  /// A cache for `capacity` positions. Throws DeviceError where there is no room.
  std::unique_ptr<KvCache> new_kv_cache(std::int64_t capacity) const;
  /// write_kv_file() and read_kv_file() between passes.
  void write_kv(const std::filesystem::path& path, std::string_view key,
                std::span<const std::int32_t> ids, KvCache& kv) const;
  std::vector<std::int32_t> read_kv(const std::filesystem::path& path, std::string_view key,
                                    KvCache& kv) const;
  /// What a cache takes of memory.
  std::size_t kv_cache_bytes(std::int64_t capacity) const;
  /// Read from spilled caches so far.
  std::uint64_t kv_bytes_read() const { return window_ ? window_->bytes_read() : 0; }

  /// What a pass of one token reads of weights, wherever they live, and multiplies and adds.
  std::size_t weight_bytes_per_pass() const;
  double flops_per_token() const;

  /// Computes all new tokens, advances the caches and fills logits [wanted rows, vocab_size] in the
  /// order of the sequences. Throws PlanError where a cache has no room, ArgumentError for an id
  /// outside the vocabulary, FileError from the stream; caches then keep what they held before.
  void run(std::span<const BatchSequence> sequences, std::span<float> logits) const;

  /// True if a CUDA device computes the logits of short calls.
  bool head_on_card() const {
    return parts_.routes.front().group_devices.back().kind == DeviceKind::kCuda;
  }

  /// The same as run(), but only the likeliest ids of the wanted rows: where a CUDA device computes
  /// the head its logits stay there.
  void run_likeliest(std::span<const BatchSequence> sequences, std::span<std::int32_t> ids) const;

 private:
  /// To the CUDA devices that compute with them.
  void copy_adapters();
  void check(std::span<const BatchSequence> sequences) const;
  const Route& route_of(std::int64_t rows) const;
  /// Rows of a pass at most: those of cards where nothing of the route is multiplied elsewhere.
  std::int64_t pass_rows(const Route& route) const;
  /// Computes again what the caches hold of sequences that outgrow Architecture::short_context().
  void restart_outgrown(std::span<const BatchSequence> sequences, const Route& route) const;
  void run_passes(std::span<const BatchSequence> sequences, const Route& route,
                  const PassResult& result) const;
  void run_flight(std::span<const Batch> batches, const Route& route,
                  const PassResult& result) const;
  /// How many passes of `rows` rows take turns at each group. Routes with CUDA devices take their
  /// long passes one by one.
  std::size_t passes_at_once(const Route& route, std::int64_t rows) const;

  ModelParts parts_;
  std::unique_ptr<KvWindow> window_;  // null where no cache is spilled
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<WeightStore> weights_;
  std::unique_ptr<RecordedPasses> recorded_;  // null where the model is not on one CUDA device
  mutable std::mutex mutex_;                  // one pass at a time
};

}  // namespace shoehorn
