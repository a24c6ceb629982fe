// Which architecture a config.json asks for. A line here is all that makes one known.

#include <array>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "model/architecture.h"
#include "model/deepseek_v3.h"
#include "model/gpt_oss.h"
#include "model/llama.h"
#include "model/mixtral.h"
#include "model/qwen3_moe.h"

namespace shoehorn {
namespace {

struct Entry {
  std::string_view model_type;
  std::unique_ptr<const Architecture> (*make)(const Config& config);
};

constexpr std::array kArchitectures = {
    Entry{"llama", make_llama},
    Entry{"mixtral", make_mixtral},
    Entry{"qwen3_moe", make_qwen3_moe},
    Entry{"gpt_oss", make_gpt_oss},
    Entry{"deepseek_v3", make_deepseek_v3},
};

}  // namespace

std::unique_ptr<const Architecture> make_architecture(const Config& config) {
  const std::string model_type = config.text("model_type");
  for (const Entry& entry : kArchitectures) {
    if (entry.model_type == model_type) return entry.make(config);
  }
  std::string known;
  for (const Entry& entry : kArchitectures)
    known += str_cat(known.empty() ? "" : ", ", entry.model_type);
  throw UnsupportedError(str_cat(config.path().string(), ": model_type \"", model_type,
                                 "\" is not known; shoehorn runs ", known));
}

}  // namespace shoehorn
