// Low-rank adapters beside a model's weights: y = W x + scale · B (A x), added where W x is
// computed, so that W may be quantized, streamed or anywhere, and stays as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/peft_adapter.h"
#include "kernels/exec_context.h"
#include "model/weight_plan.h"
#include "quant/weight_form.h"
#include "weights/device_memory.h"
#include "weights/weight_store.h"

namespace shoehorn {

class Runtime;

struct ScaledAdapter {
  std::shared_ptr<const PeftAdapter> adapter;  // shared with whoever opened it
  double scale = 1;                            // beside the adapter's own
};

/// What all adapters add to one weight [N, K], in float32.
struct LowRankUpdate {
  struct Term {
    std::int64_t rank = 0;
    std::vector<float> a;     // [rank, K]
    std::vector<float> b;     // [N, rank], scale included
    std::vector<float> bias;  // [N], scale included; or empty
  };
  std::string path;  // of the weight
  Shape shape;
  std::vector<Term> terms;
};

/// All updates of a model. Used by one pass at a time.
class AdapterSet {
 public:
  /// Reads the adapters into memory. Throws FormatError where one updates what the model does not
  /// have or has in another shape, FileError.
  AdapterSet(const std::vector<ScaledAdapter>& adapters, const ResolvedModel& model,
             std::string_view base_model_prefix, Isa isa);

  std::size_t size() const { return updates_.size(); }
  std::int64_t largest_rank() const { return largest_rank_; }
  /// Workspace that a pass of `rows` rows takes for them.
  std::size_t workspace_bytes(std::int64_t rows) const;
  /// What copy_to() takes of a CUDA device that computes every group.
  std::size_t card_bytes() const;
  /// Copies what is added in the groups that a CUDA device computes to its memory. Throws
  /// DeviceError.
  void copy_to(Device card, const std::vector<bool>& groups, DeviceMemory& memory,
               Runtime& runtime);
  /// Null where the weight stays as it is.
  const LowRankUpdate* find(std::string_view path) const;

  /// A group's weights are where `w` says, until end_group().
  void begin_group(std::size_t group, const WeightStore::Lease& w);
  /// Throws UnsupportedError where an update of the group was not applied: the architecture
  /// multiplies that weight in another way than by project().
  void end_group();
  /// Adds what belongs to `weight`, if anything does: y[rows, N] += scale · (x[rows, K] Aᵀ Bᵀ +
  /// bias). x and y are on `device`, of which `ctx` is.
  void add_to(std::span<float> y, const WeightView& weight, std::span<const float> x,
              std::int64_t rows, Device device, ExecContext& ctx);

 private:
  struct Bound {
    const std::byte* data = nullptr;
    const LowRankUpdate* update = nullptr;
    bool applied = false;
  };
  struct Place {
    std::size_t weight = 0;  // of its group
    const LowRankUpdate* update = nullptr;
  };

  /// A term where it is multiplied.
  struct TermView {
    WeightView a;
    WeightView b;
    std::span<const float> bias;
  };
  /// The terms of a CUDA device, in its memory.
  struct OnCard {
    Device device;
    DeviceBuffer memory;
    std::map<const LowRankUpdate*, std::vector<TermView>> terms;
  };

  std::map<std::string, LowRankUpdate, std::less<>> updates_;  // by path; they stay where they are
  std::map<const LowRankUpdate*, std::vector<TermView>> on_host_;
  std::vector<OnCard> on_cards_;
  std::vector<std::vector<Place>> groups_;
  std::vector<Bound> bound_;
  std::int64_t largest_rank_ = 0;
};

/// rows[count, K] += rows [first, first + count) of scale · B A: what merging adds to a weight.
/// Throws UnsupportedError for an update with a bias.
void add_merged_rows(const LowRankUpdate& update, std::int64_t first, std::int64_t count,
                     std::span<float> rows);

}  // namespace shoehorn
