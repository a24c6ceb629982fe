// Which architecture a config.json asks for. A line here is all that makes one known.

#include <array>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "model/architecture.h"
#include "model/architectures.h"
#include "model/deepseek_v3.h"
#include "model/gpt_oss.h"
#include "model/mixtral.h"
#include "model/qwen3_moe.h"

namespace shoehorn {
namespace {

struct Entry {
  std::string_view model_type;
  std::unique_ptr<const Architecture> (*make)(const Config& config);
};

constexpr std::array kArchitectures = {
    Entry{"bloom", make_bloom},       Entry{"cohere", make_cohere},
    Entry{"falcon", make_falcon},     Entry{"gemma", make_gemma},
    Entry{"gemma2", make_gemma2},     Entry{"gemma3_text", make_gemma3_text},
    Entry{"glm4", make_glm4},         Entry{"gpt2", make_gpt2},
    Entry{"gpt_neox", make_gpt_neox}, Entry{"gptj", make_gptj},
    Entry{"granite", make_granite},   Entry{"llama", make_llama},
    Entry{"mistral", make_mistral},   Entry{"olmo2", make_olmo2},
    Entry{"opt", make_opt},           Entry{"phi", make_phi},
    Entry{"phi3", make_phi3},         Entry{"qwen2", make_qwen2},
    Entry{"qwen3", make_qwen3},       Entry{"smollm3", make_smollm3},
    Entry{"stablelm", make_stablelm}, Entry{"starcoder2", make_starcoder2},
    Entry{"mixtral", make_mixtral},   Entry{"qwen3_moe", make_qwen3_moe},
    Entry{"gpt_oss", make_gpt_oss},   Entry{"deepseek_v3", make_deepseek_v3},
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
