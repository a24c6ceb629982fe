#include "model/tier_forms.h"

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "model/testing_model.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr AcceleratorCounts kNone{};
constexpr AcceleratorCounts kTwoVirtual{.virtual_devices = 2};
constexpr Device kDisk{DeviceKind::kDisk};

ResolvedWeight linear_weight() {
  ResolvedWeight weight;
  weight.shape = {4, 64};
  weight.form = {.dtype = DType::kBF16};
  weight.tiered_dtype = DType::kBF16;
  return weight;
}

TEST(TierForms, EveryDeviceHasItsOwn) {
  const TierForms tiers({{"disk", "nf4"}, {"cpu", "int8"}, {"virtual", "float32"}}, kTwoVirtual,
                        nullptr);
  const ResolvedWeight weight = linear_weight();
  EXPECT_EQ(tiers.form_of(weight, DeviceKey::disk()).quant_type, QuantType::kNF4);
  EXPECT_EQ(tiers.form_of(weight, DeviceKey::cpu()).quant_type, QuantType::kInt8);
  for (const int i : {0, 1}) {
    const WeightForm form = tiers.form_of(weight, DeviceKey::accelerator(i));
    EXPECT_EQ(form, (WeightForm{.dtype = DType::kF32})) << i;
  }
}

TEST(TierForms, AutoAndWhatIsNotNamedAreAsUsual) {
  const TierForms tiers({{"cpu", "auto"}}, kNone, nullptr);
  const ResolvedWeight weight = linear_weight();
  EXPECT_EQ(tiers.form_of(weight, DeviceKey::cpu()), weight.form);
  EXPECT_EQ(tiers.form_of(weight, DeviceKey::disk()), weight.form);
}

TEST(TierForms, OnlyFourBitsNestTheirScales) {
  const BitsAndBytesConfig config{.bnb_4bit_use_double_quant = true};
  const TierForms tiers({{"disk", "fp4"}, {"cpu", "int8"}}, kNone, &config);
  EXPECT_TRUE(tiers.form_of(linear_weight(), DeviceKey::disk()).nested);
  EXPECT_FALSE(tiers.form_of(linear_weight(), DeviceKey::cpu()).nested);
}

TEST(TierForms, WhatMayNotChangeDoesNot) {
  const TierForms tiers({{"cpu", "int8"}}, kNone, nullptr);
  ResolvedWeight norm = linear_weight();
  norm.tiered_dtype.reset();
  EXPECT_EQ(tiers.form_of(norm, DeviceKey::cpu()), norm.form);
}

TEST(TierForms, RefusesWhatItCannotRead) {
  const auto made = [](const char* device, const char* type) {
    return [=] { TierForms({{device, type}}, kTwoVirtual, nullptr); };
  };
  EXPECT_THAT(made("tape", "nf4"), ThrowsMessage<ArgumentError>(HasSubstr("\"tape\"")));
  EXPECT_THAT(made("disk", "int3"), ThrowsMessage<ArgumentError>(HasSubstr("disk=int3")));
  EXPECT_THAT(made("disk", "none"), ThrowsMessage<ArgumentError>(HasSubstr("disk=none")));
  EXPECT_THAT(made("7", "nf4"), ThrowsMessage<ArgumentError>(HasSubstr("accelerator 7")));
  EXPECT_THAT(made("cuda", "nf4"), ThrowsMessage<ArgumentError>(HasSubstr("no cuda")));
  EXPECT_THAT(
      [] {
        TierForms({{"virtual", "nf4"}, {"1", "int8"}}, kTwoVirtual, nullptr);
      },
      ThrowsMessage<ArgumentError>(HasSubstr("twice")));
}

const std::filesystem::path& model() {
  static const auto path = std::filesystem::path(SHOEHORN_TEST_DATA) / "quantized" / "llama-tiny";
  return path;
}

/// Layer 0 is in nf4, the second layer's attention in int8, its mlp in bfloat16.
WeightForm mixed_form(const ResolvedWeight& weight) {
  if (!weight.tiered_dtype) return weight.form;
  if (weight.path.starts_with("model.layers.0.")) {
    return {.quant_type = QuantType::kNF4, .dtype = *weight.tiered_dtype};
  }
  if (weight.path.find("self_attn") != std::string::npos) {
    return {.quant_type = QuantType::kInt8, .dtype = *weight.tiered_dtype};
  }
  return {.dtype = DType::kBF16};
}

std::vector<float> logits_with(const std::function<Device(std::string_view)>& device_of) {
  const auto loaded =
      testing::load_test_model(model(), {.device_of = device_of, .form_of = mixed_form});
  return testing::all_logits(*loaded, {5, 9, 2, 77, 30}, 2);
}

// What --tier-dtype makes of a map is a form for each weight, and one form gives the same bits
// wherever it lives.
TEST(TierForms, TheSameFormsGiveTheSameBitsWhateverTheMap) {
  const auto resident = logits_with([](std::string_view) { return Device{}; });
  EXPECT_EQ(logits_with([](std::string_view) { return kDisk; }), resident);
  EXPECT_EQ(logits_with([](std::string_view path) {
              return path.starts_with("model.layers.0.") ? kDisk : Device{};
            }),
            resident);
  EXPECT_EQ(logits_with([](std::string_view path) {
              return path.starts_with("model.layers.1.") ? Device{DeviceKind::kVirtual, 1} : kDisk;
            }),
            resident);
  const auto plain = testing::load_test_model(model(), {});
  EXPECT_NE(testing::all_logits(*plain, {5, 9, 2, 77, 30}, 2), resident);
}

TEST(SetForms, TheTreeSaysWhatTheWeightsAre) {
  const Checkpoint checkpoint = open_checkpoint(model());
  const auto architecture =
      make_architecture(Config::parse(checkpoint.config_json(), model() / "config.json"));
  const BitsAndBytesConfig tiers{.load_in_8bit = true};
  ResolvedModel resolved = resolve_model(*architecture, checkpoint, {.tiers = &tiers});
  const std::size_t before = memory_footprint(resolved.tree);
  set_forms(resolved, mixed_form);
  EXPECT_LT(memory_footprint(resolved.tree), before);
  EXPECT_NE(resolved.quant_type, QuantType::kNone);
  for (const ResolvedWeight& weight : resolved.weights) {
    EXPECT_EQ(weight.tiered_dtype.has_value(), weight.path.find("_proj") != std::string::npos)
        << weight.path;
  }
}

}  // namespace
}  // namespace shoehorn
