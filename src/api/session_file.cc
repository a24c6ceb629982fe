// Prompt caches: a session's keys and values as a file, keyed by all that they depend on.

#include <string>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/model_impl.h"
#include "api/session_impl.h"
#include "base/digest.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

void describe(const WeightSpec& weight, const Checkpoint& checkpoint, BlockHash& hash) {
  if (!weight.exists()) return;
  const std::string source = weight.source != nullptr ? checkpoint.identity_of(*weight.source)
                                                      : "quantized in the checkpoint";
  const WeightForm& form = weight.form;
  const std::string text = str_cat(
      weight.path, " ", to_string(weight.shape), " ", to_string(form.quant_type), " ",
      to_string(form.dtype), " ", form.blocksize, " ", form.nested, " ",
      to_string(weight.compute.dtype), " ", weight.compute.llm_int8_threshold, " ",
      weight.compute.bnb_cpu_constant, " ", static_cast<int>(weight.parity), "\n", source, "\n");
  hash.update(std::as_bytes(std::span(text)));
}

/// The groups that CUDA devices compute, whose sums are not the host's: a line for each route, with
/// a 1 for each of them; empty where there are none.
std::string groups_on_cards(const std::vector<Route>& routes) {
  std::string text;
  bool is_any = false;
  for (const Route& route : routes) {
    text += str_cat("cards to ", route.most_rows, " ");
    for (const Device device : route.group_devices) {
      const bool is_card = device.kind == DeviceKind::kCuda;
      is_any |= is_card;
      text += is_card ? '1' : '0';
    }
    text += '\n';
  }
  return is_any ? text : std::string();
}

/// Text that differs where a position's keys or values may. Where the weights live does not count
/// without CUDA devices: every map gives the same values then.
std::string session_key(const LoadedModel& loaded, const RunShape& shape,
                        const std::string& adapters) {
  const Checkpoint& checkpoint = loaded.checkpoint();
  Sha256 weights;
  for (const WeightGroup& group : loaded.weights().groups()) {
    for (const WeightSpec& weight : group.weights) describe(weight, checkpoint, weights);
  }
  // Of a quantized checkpoint a weight is several tensors.
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const std::string text = str_cat(tensor.name, "\n", checkpoint.identity_of(tensor), "\n");
    weights.update(std::as_bytes(std::span(text)));
  }
  Sha256 config;
  config.update(std::as_bytes(std::span(checkpoint.config_json())));
  return str_cat("weights ", weights.hex_digest(), "\nconfig ", config.hex_digest(), "\nkv ",
                 to_string(shape.kv_dtype), "\nisa ", to_string(shape.isa), "\n", adapters,
                 groups_on_cards(loaded.routes()));
}

}  // namespace

void Model::save_session(const std::filesystem::path& path, const Session& session,
                         std::span<const std::int32_t> ids) const {
  Session::Impl& impl = *session.impl_;
  if (impl.model != impl_->loaded.get()) throw ArgumentError("the session is another model's");
  if (static_cast<std::int64_t>(ids.size()) != session.position()) {
    throw ArgumentError(
        str_cat("the session holds ", session.position(), " positions, not ", ids.size()));
  }
  impl_->loaded->write_kv(path, session_key(*impl_->loaded, impl_->shape, impl_->adapters_key), ids,
                          *impl.kv);
}

std::vector<std::int32_t> Model::load_session(const std::filesystem::path& path,
                                              Session& session) const {
  Session::Impl& impl = *session.impl_;
  if (impl.model != impl_->loaded.get()) throw ArgumentError("the session is another model's");
  return impl_->loaded->read_kv(
      path, session_key(*impl_->loaded, impl_->shape, impl_->adapters_key), *impl.kv);
}

}  // namespace shoehorn
