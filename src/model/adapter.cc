#include "model/adapter.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/linear.h"
#include "model/runtime.h"
#include "weights/tensor_reader.h"

namespace shoehorn {
namespace {

std::vector<float> read_floats(const Checkpoint& checkpoint, const TensorInfo& info, Isa isa) {
  std::vector<float> values(static_cast<std::size_t>(info.shape.elements()));
  const RowLayout layout = row_layout(info);
  ReadScratch scratch;
  read_rows(checkpoint, info, DType::kF32, 0, layout.rows,
            std::as_writable_bytes(std::span(values)), scratch, isa);
  return values;
}

void scale_by(double scale, std::vector<float>& values) {
  for (float& value : values) value = static_cast<float>(static_cast<double>(value) * scale);
}

WeightView view_of(const float* values, const Shape& shape, Device device) {
  return {WeightForm{}, shape, reinterpret_cast<const std::byte*>(values), device};
}

constexpr std::size_t kCardAlignment = 256;

/// Of some floats on a card.
std::size_t aligned_bytes(std::size_t floats) {
  return (floats * sizeof(float) + kCardAlignment - 1) / kCardAlignment * kCardAlignment;
}

std::size_t card_bytes_of(const LowRankUpdate& update) {
  std::size_t bytes = 0;
  for (const LowRankUpdate::Term& term : update.terms) {
    for (const auto* const values : {&term.a, &term.b, &term.bias}) {
      bytes += aligned_bytes(values->size());
    }
  }
  return bytes;
}

/// The path of the weight that an adapter's module has in the model; empty where it has none.
const ResolvedWeight* find_weight(const ResolvedModel& model, const std::string& module,
                                  std::string_view prefix) {
  const std::string path = module + ".weight";
  const std::string dotted = str_cat(prefix, ".");
  const std::string other = path.starts_with(dotted) ? path.substr(dotted.size()) : dotted + path;
  for (const std::string& name : {path, other}) {
    const auto found = std::ranges::find(model.weights, name, &ResolvedWeight::path);
    if (found != model.weights.end()) return &*found;
  }
  return nullptr;
}

}  // namespace

AdapterSet::AdapterSet(const std::vector<ScaledAdapter>& adapters, const ResolvedModel& model,
                       std::string_view base_model_prefix, Isa isa)
    : groups_(model.groups.size()) {
  for (const auto& [adapter, scale] : adapters) {
    for (const PeftUpdate& from : adapter->updates()) {
      const auto fail = [&, &path = adapter->path()](const std::string& what) {
        throw FormatError(path, str_cat(from.module, ": ", what));
      };
      const ResolvedWeight* const weight = find_weight(model, from.module, base_model_prefix);
      if (weight == nullptr || is_looked_up(*weight)) {
        fail("the model has no such linear layer; the adapter is of another model");
      }
      const Shape& shape = weight->shape;
      if (shape.rank() != 2 || from.a->shape[1] != shape[1] || from.b->shape[0] != shape[0]) {
        fail(str_cat("the model's weight is ", to_string(shape), ", the adapter's lora_A ",
                     to_string(from.a->shape), " and lora_B ", to_string(from.b->shape)));
      }
      LowRankUpdate& update = updates_[weight->path];
      update.path = weight->path;
      update.shape = shape;
      LowRankUpdate::Term& term = update.terms.emplace_back();
      term.rank = from.scale.rank;
      term.a = read_floats(adapter->tensors(), *from.a, isa);
      term.b = read_floats(adapter->tensors(), *from.b, isa);
      if (from.bias != nullptr) term.bias = read_floats(adapter->tensors(), *from.bias, isa);
      scale_by(from.scale.scale * scale, term.b);
      scale_by(from.scale.scale * scale, term.bias);
      largest_rank_ = std::max(largest_rank_, term.rank);
    }
  }
  for (auto& [path, update] : updates_) {
    for (const LowRankUpdate::Term& term : update.terms) {
      on_host_[&update].push_back(
          {view_of(term.a.data(), Shape{term.rank, update.shape[1]}, Device{}),
           view_of(term.b.data(), Shape{update.shape[0], term.rank}, Device{}), term.bias});
    }
    for (std::size_t g = 0; g < model.groups.size(); ++g) {
      const std::vector<std::string>& names = model.groups[g].weights;
      const auto found = std::ranges::find(names, path);
      if (found == names.end()) continue;
      groups_[g].push_back({static_cast<std::size_t>(found - names.begin()), &update});
    }
  }
}

std::size_t AdapterSet::workspace_bytes(std::int64_t rows) const {
  constexpr std::size_t kAlignment = 64;
  return static_cast<std::size_t>(rows * largest_rank_) * sizeof(float) + kAlignment;
}

std::size_t AdapterSet::card_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [path, update] : updates_) bytes += card_bytes_of(update);
  return bytes;
}

void AdapterSet::copy_to(Device card, const std::vector<bool>& groups, DeviceMemory& memory,
                         Runtime& runtime) {
  std::vector<const LowRankUpdate*> wanted;
  std::size_t bytes = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (const Place& place : groups_[g]) {
      // Of tied weights one update has two places.
      if (!groups[g] || std::ranges::find(wanted, place.update) != wanted.end()) continue;
      wanted.push_back(place.update);
      bytes += card_bytes_of(*place.update);
    }
  }
  OnCard& there = on_cards_.emplace_back();
  there.device = card;
  there.memory = memory.allocate(card, bytes, "the adapters");
  std::byte* at = there.memory.data();
  const auto copied = [&](const std::vector<float>& values) {
    auto* const copy = reinterpret_cast<float*>(at);
    runtime.copy(card, copy, Device{}, values.data(), values.size() * sizeof(float));
    at += aligned_bytes(values.size());
    return copy;
  };
  for (const LowRankUpdate* const update : wanted) {
    for (const LowRankUpdate::Term& term : update->terms) {
      const float* const a = copied(term.a);
      const float* const b = copied(term.b);
      const float* const bias = copied(term.bias);
      there.terms[update].push_back({view_of(a, Shape{term.rank, update->shape[1]}, card),
                                     view_of(b, Shape{update->shape[0], term.rank}, card),
                                     std::span(bias, term.bias.size())});
    }
  }
}

const LowRankUpdate* AdapterSet::find(std::string_view path) const {
  const auto found = updates_.find(path);
  return found == updates_.end() ? nullptr : &found->second;
}

void AdapterSet::begin_group(std::size_t group, const WeightStore::Lease& w) {
  bound_.clear();
  for (const Place& place : groups_[group]) {
    bound_.push_back({w[place.weight].data, place.update, false});
  }
}

void AdapterSet::end_group() {
  for (const Bound& bound : bound_) {
    if (bound.applied) continue;
    throw UnsupportedError(str_cat("an adapter changes ", bound.update->path,
                                   ", which this architecture does not multiply as one linear "
                                   "layer; `shoehorn convert --adapter` merges it"));
  }
  bound_.clear();
}

void AdapterSet::add_to(std::span<float> y, const WeightView& weight, std::span<const float> x,
                        std::int64_t rows, Device device, ExecContext& ctx) {
  const auto bound = std::ranges::find(bound_, weight.data, &Bound::data);
  if (bound == bound_.end() || !(bound->update->shape == weight.shape)) return;
  bound->applied = true;
  const std::size_t mark = ctx.workspace.mark();
  const auto card = std::ranges::find(on_cards_, device, &OnCard::device);
  const auto& terms = card != on_cards_.end() ? card->terms : on_host_;
  for (const TermView& term : terms.at(bound->update)) {
    const std::int64_t rank = term.a.shape[0];
    const auto narrow = ctx.workspace.take<float>(static_cast<std::size_t>(rows * rank));
    linear(term.a, {}, x, rows, narrow, ctx);
    const LinearTask task{.weight = &term.b, .bias = term.bias, .y = y, .accumulate = true};
    linear_many({&task, 1}, narrow, rows, ctx);
    ctx.workspace.release(mark);
  }
}

void add_merged_rows(const LowRankUpdate& update, std::int64_t first, std::int64_t count,
                     std::span<float> rows) {
  const auto k = static_cast<std::size_t>(update.shape[1]);
  for (const LowRankUpdate::Term& term : update.terms) {
    if (!term.bias.empty()) {
      throw UnsupportedError(str_cat(update.path,
                                     ": the adapter adds a bias to it (lora_bias), which has no "
                                     "place in a weight"));
    }
    const auto rank = static_cast<std::size_t>(term.rank);
    for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
      const float* const b = term.b.data() + (static_cast<std::size_t>(first) + n) * rank;
      float* const row = rows.data() + n * k;
      for (std::size_t r = 0; r < rank; ++r) {
        const float* const a = term.a.data() + r * k;
        for (std::size_t i = 0; i < k; ++i) row[i] += b[r] * a[i];
      }
    }
  }
}

}  // namespace shoehorn
