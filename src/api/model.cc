#include "shoehorn/model.h"

#include <algorithm>
#include <ostream>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "api/model_impl.h"
#include "api/session_impl.h"
#include "base/str_cat.h"
#include "plan/explain.h"
#include "plan/module_tree.h"

namespace shoehorn {

std::ostream& operator<<(std::ostream& out, const HfDeviceMap& map) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [path, device] : map.entries) {
    const bool number = device.find_first_not_of("0123456789") == std::string::npos;
    if (number) {
      json[path] = std::stoi(device);
    } else {
      json[path] = device;
    }
  }
  return out << json.dump();
}

std::vector<BatchSequence> Model::Impl::sequences(
    const Impl& model, std::span<Session* const> sessions,
    std::span<const std::span<const std::int32_t>> ids) {
  if (sessions.size() != ids.size()) {
    throw ArgumentError(str_cat(sessions.size(), " sessions and ids for ", ids.size()));
  }
  std::vector<BatchSequence> sequences;
  std::set<const Session*> seen;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    Session::Impl& session = *sessions[i]->impl_;
    if (session.model != model.loaded.get() || !seen.insert(sessions[i]).second) {
      throw ArgumentError(str_cat("session ", i, " is another model's, or there twice"));
    }
    sequences.push_back(session.sequence(ids[i], BatchSequence::Logits::kLast));
  }
  return sequences;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

const HfDeviceMap& Model::hf_device_map() const {
  return impl_->hf_device_map;
}

std::size_t Model::get_memory_footprint() const {
  return memory_footprint(impl_->tree);
}

std::int64_t Model::vocab_size() const {
  return impl_->loaded->architecture().shape().vocab_size;
}
std::int64_t Model::max_context() const {
  return impl_->shape.max_context;
}
const std::string& Model::plan_text() const {
  return impl_->plan_text;
}
const std::string& Model::plan_json() const {
  return impl_->plan_json;
}
std::string Model::explain(const std::vector<GroupUse>& measured, bool unicode) const {
  if (measured.empty()) return explain_text(impl_->plan, {.unicode = unicode});
  std::vector<MeasuredGroup> groups;
  for (const GroupUse& use : measured) {
    groups.push_back({use.group, use.passes, use.wait_s, use.busy_s});
  }
  return measured_text(impl_->plan, groups, {.unicode = unicode});
}
double Model::load_s() const {
  return impl_->load_s;
}
const Tokenizer* Model::tokenizer() const {
  return impl_->tokenizer.get();
}

std::size_t Model::predicted_peak_bytes(std::int64_t positions, std::int64_t longest_call,
                                        std::int64_t sessions) const {
  const auto cpu = std::ranges::find(impl_->plan.devices, DeviceKey::cpu(), &DeviceUse::device);
  if (cpu == impl_->plan.devices.end()) return 0;
  const std::size_t planned = impl_->loaded->kv_cache_bytes(impl_->shape.max_context) *
                              static_cast<std::size_t>(impl_->shape.max_batch);
  // Of the workspace, a short call touches what it needs.
  const std::int64_t call = std::max<std::int64_t>(longest_call * sessions, 1);
  std::size_t touched = pass_workspace_bytes(
      impl_->loaded->architecture(), std::min(call, impl_->shape.max_rows),
      std::min(call, impl_->shape.flight_rows), positions, impl_->shape.threads);
  if (!impl_->shape.spilled_layers.empty()) {
    touched += kv_window_bytes(impl_->loaded->architecture(), impl_->shape.kv_dtype, max_context());
  }
  const std::size_t unused = cpu->workspace - std::min(cpu->workspace, touched);
  return cpu->used() - std::min(cpu->used(), planned + unused) +
         impl_->loaded->kv_cache_bytes(positions) * static_cast<std::size_t>(sessions);
}

std::size_t Model::session_bytes() const {
  return impl_->loaded->kv_cache_bytes(impl_->shape.max_context) + impl_->shape.workspace_bytes;
}

std::uint64_t Model::weight_bytes() const {
  return impl_->loaded->weight_bytes_per_pass();
}
double Model::flops_per_token() const {
  return impl_->loaded->flops_per_token();
}

std::uint64_t Model::disk_bytes_read() const {
  return impl_->loaded->weights().stream_stats().bytes_read + impl_->loaded->kv_bytes_read();
}

double Model::disk_wait_s() const {
  return impl_->loaded->weights().stream_stats().wait_s;
}

Session Model::new_session(std::int64_t capacity) const {
  auto session = std::make_unique<Session::Impl>();
  session->model = impl_->loaded.get();
  session->kv = impl_->loaded->new_kv_cache(capacity > 0 ? capacity : max_context());
  session->logits.resize(static_cast<std::size_t>(vocab_size()));
  return Session(std::move(session));
}

std::vector<float> Model::forward(std::span<Session* const> sessions,
                                  std::span<const std::span<const std::int32_t>> ids) const {
  const std::vector<BatchSequence> sequences = Impl::sequences(*impl_, sessions, ids);
  std::vector<float> logits(sessions.size() * static_cast<std::size_t>(vocab_size()));
  impl_->loaded->run(sequences, logits);
  return logits;
}

std::vector<std::int32_t> Model::likeliest(
    std::span<Session* const> sessions, std::span<const std::span<const std::int32_t>> ids) const {
  const std::vector<BatchSequence> sequences = Impl::sequences(*impl_, sessions, ids);
  std::vector<std::int32_t> best(sessions.size());
  impl_->loaded->run_likeliest(sequences, best);
  if (std::ranges::find(best, -1) != best.end()) {
    throw Error("the model's logits hold no number to choose a token by");
  }
  return best;
}

std::vector<float> Model::logits(const LogitsRequest& request) const {
  const auto length = static_cast<std::size_t>(request.length);
  const auto batch = static_cast<std::size_t>(request.batch);
  const auto vocab = static_cast<std::size_t>(vocab_size());
  if (request.input_ids.size() != batch * length ||
      (!request.attention_mask.empty() && request.attention_mask.size() != batch * length) ||
      (!request.position_ids.empty() && request.position_ids.size() != batch * length)) {
    throw ArgumentError(
        "logits: input_ids, attention_mask and position_ids must be [batch, length]");
  }
  // Pads are left out: each row becomes a sequence of its real tokens.
  std::vector<std::vector<std::int32_t>> ids(batch);
  std::vector<std::vector<std::int32_t>> positions(batch);
  std::vector<std::size_t> where;
  std::int32_t call_length = 0;
  for (std::size_t i = 0; i < batch * length; ++i) {
    if (!request.attention_mask.empty() && request.attention_mask[i] == 0) continue;
    const std::size_t row = i / length;
    const std::int32_t position = request.position_ids.empty()
                                      ? static_cast<std::int32_t>(ids[row].size())
                                      : request.position_ids[i];
    if (position < 0) throw ArgumentError(str_cat("logits: position ", position, " is negative"));
    ids[row].push_back(request.input_ids[i]);
    positions[row].push_back(position);
    where.push_back(i);
    call_length = std::max(call_length, position + 1);
  }
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<BatchSequence> sequences;
  for (std::size_t row = 0; row < batch; ++row) {
    if (ids[row].empty()) continue;
    caches.push_back(impl_->loaded->new_kv_cache(static_cast<std::int64_t>(ids[row].size())));
    sequences.push_back({.ids = ids[row],
                         .positions = positions[row],
                         .kv = caches.back().get(),
                         .call_length = call_length,
                         .logits = BatchSequence::Logits::kAll});
  }
  const bool padded = where.size() != batch * length;
  const std::size_t rows = where.size() + (padded ? batch * length : 0);
  const auto room = impl_->loaded->memory().charge(
      Device{}, rows * vocab * sizeof(float),
      str_cat("the logits of ", rows, " positions (fewer at once take less)"));
  std::vector<float> real(where.size() * vocab);
  impl_->loaded->run(sequences, real);
  if (!padded) return real;
  std::vector<float> logits(batch * length * vocab);
  for (std::size_t i = 0; i < where.size(); ++i) {
    std::copy_n(real.begin() + static_cast<std::ptrdiff_t>(i * vocab), vocab,
                logits.begin() + static_cast<std::ptrdiff_t>(where[i] * vocab));
  }
  return logits;
}

}  // namespace shoehorn
