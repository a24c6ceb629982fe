// Quantized models on a CUDA device: what bitsandbytes' own files give there, and what is quantized
// on its way to the card. Skipped out loud where there is no card.

#include <string>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "cuda/card.h"
#include "quantized_golden.h"

namespace shoehorn {
namespace {

class QuantizedOnCards : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::find_cards().cards.empty()) GTEST_SKIP() << cuda::find_cards().why_none;
  }
};

LoadOptions on(const std::string& device, BitsAndBytesConfig config) {
  if (!config.bnb_4bit_compute_dtype) config.bnb_4bit_compute_dtype = "float32";
  return {
      .device_map = device, .dtype = "float32", .quantization_config = config, .bnb_parity = "cpu"};
}

std::vector<float> logits(const std::string& name, const LoadOptions& options) {
  return from_pretrained(model_path(name), options).logits(Golden("bnb-tiny-int8").request());
}

// The same tolerances as on the CPU.
TEST_F(QuantizedOnCards, Int8LogitsAreBitsandbytes) {
  EXPECT_LT(relative_error(logits("bnb-tiny-int8", on("cuda:0", {})),
                           Golden("bnb-tiny-int8").logits("logits_f32")),
            2e-3);
}

// A prompt's products are computed in bfloat16 on a card; token by token they are float32.
TEST_F(QuantizedOnCards, FourBitLogitsAreBitsandbytes) {
  for (const char* name : {"bnb-tiny-nf4-dq", "bnb-tiny-fp4"}) {
    const Golden golden(name);
    EXPECT_LT(relative_error(logits(name, on("cuda:0", {})), golden.logits("logits_f32")), 2e-2)
        << name;
    const Model model = from_pretrained(model_path(name), on("cuda:0", {}));
    const auto request = golden.request();
    std::vector<float> stepped;
    for (std::int64_t row = 0; row < request.batch; ++row) {
      Session session = model.new_session(request.length);
      for (std::int64_t i = 0; i < request.length; ++i) {
        const std::int32_t id =
            request.input_ids[static_cast<std::size_t>(row * request.length + i)];
        const auto one = session.forward({&id, 1});
        stepped.insert(stepped.end(), one.begin(), one.end());
      }
    }
    EXPECT_LT(relative_error(stepped, golden.logits("logits_f32")), 1e-4) << name;
  }
}

TEST_F(QuantizedOnCards, QuantizedOnTheWayInIsWhatTheCpuMakes) {
  for (const BitsAndBytesConfig& config :
       {BitsAndBytesConfig{.load_in_8bit = true}, BitsAndBytesConfig{.load_in_4bit = true},
        BitsAndBytesConfig{.load_in_4bit = true, .bnb_4bit_quant_type = "nf4"},
        BitsAndBytesConfig{.load_in_4bit = true,
        .bnb_4bit_quant_type = "nf4",
        .bnb_4bit_use_double_quant = true}}) {
    const auto want = logits("llama-tiny", on("cpu", config));
    EXPECT_LT(relative_error(logits("llama-tiny", on("cuda:0", config)), want), 2e-2)
        << config.bnb_4bit_quant_type << config.load_in_8bit;
  }
}

TEST_F(QuantizedOnCards, QuantizedWeightsComeOverTheLink) {
  for (const BitsAndBytesConfig& config :
       {BitsAndBytesConfig{.load_in_8bit = true},
        BitsAndBytesConfig{.load_in_4bit = true, .bnb_4bit_quant_type = "nf4"}}) {
    LoadOptions options = on("auto", config);
    const auto want = logits("llama-tiny", on("cpu", config));
    options.device_map =
        R"({"model.embed_tokens": "cpu", "model.layers.0": 0, "model.layers.1": "cpu",
                             "model.norm": 0, "model.rotary_emb": 0, "lm_head": "cpu"})";
    for (const double share : {0.0, 1.0}) {
      options.link_share = share;
      EXPECT_LT(relative_error(logits("llama-tiny", options), want), 2e-2) << share;
    }
  }
}

}  // namespace
}  // namespace shoehorn
