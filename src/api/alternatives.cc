#include "api/alternatives.h"

#include <cstdint>

#include "shoehorn/error.h"

#include "api/generation_defaults.h"
#include "api/prepare.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

bool fits(const std::string& model, LoadOptions options, const std::string& assume,
          std::size_t others_bytes) {
  options.on_note = {};
  options.on_progress = {};
  try {
    place_model(model, options, assume, /*measure=*/false, others_bytes);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::string what_would_fit(const std::string& model, const LoadOptions& options,
                           const std::string& assume, std::size_t others_bytes) {
  std::string text;
  const OpenedModel opened = open_model(model, options);
  const std::int64_t needed = run_shape(opened, options).max_batch;
  for (std::int64_t batch = needed / 2; batch >= 1; batch /= 2) {
    LoadOptions fewer = planned_for_one(options);
    fewer.max_batch = batch;
    if (!fits(model, fewer, assume, others_bytes)) continue;
    text += str_cat(", or --max-batch ", batch);
    if (needed > options.max_batch) {
      text += " with fewer prompts, --num-beams or --num-return-sequences";
    }
    break;
  }
  const auto& asked = options.quantization_config;
  const bool is_quantized = asked && (asked->load_in_8bit || asked->load_in_4bit);
  if (is_quantized || !options.tier_dtype.empty()) return text;
  LoadOptions smaller = options;
  if (!asked) smaller.quantization_config.emplace();
  smaller.quantization_config->load_in_8bit = true;
  if (fits(model, smaller, assume, others_bytes)) return text + ", or --load-in-8bit";
  smaller.quantization_config->load_in_8bit = false;
  smaller.quantization_config->load_in_4bit = true;
  if (fits(model, smaller, assume, others_bytes)) text += ", or --load-in-4bit";
  return text;
}

}  // namespace shoehorn
