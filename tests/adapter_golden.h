// What PEFT gives for the adapters of tests/data (tests/parity/record_adapters.py), and what a
// model with adapters gives.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "quantized_golden.h"

namespace shoehorn {

namespace fs = std::filesystem;

inline const fs::path kData = SHOEHORN_TEST_DATA;
inline const fs::path kAdapters = kData / "adapters";
inline const std::string kBase = (kData / "models" / "llama-tied-bias").string();

struct Recorded {
  std::vector<std::int32_t> ids;
  std::vector<float> logits;
};

inline Recorded recorded(const std::string& name) {
  const Checkpoint file = open_checkpoint(kAdapters / "goldens.safetensors");
  Recorded result;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(file.at("input_ids").shape.elements()));
  file.read(file.at("input_ids"), std::as_writable_bytes(std::span(ids)));
  result.ids.assign(ids.begin(), ids.end());
  result.logits.resize(static_cast<std::size_t>(file.at(name).shape.elements()));
  file.read(file.at(name), std::as_writable_bytes(std::span(result.logits)));
  return result;
}

inline AdapterOptions adapter(const std::string& name, double scale = 1) {
  return {.path = kAdapters / name, .scale = scale};
}

inline std::vector<float> logits(const std::string& base,
                                 const std::vector<AdapterOptions>& adapters,
                                 LoadOptions options = {.device_map = "cpu"}) {
  options.adapters = adapters;
  const std::vector<std::int32_t> ids = recorded("base").ids;
  LogitsRequest request;
  request.batch = 1;
  request.length = static_cast<std::int64_t>(ids.size());
  request.input_ids = ids;
  return from_pretrained(base, options).logits(request);
}

/// The largest difference, relative to the largest recorded logit.
inline double distance(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
  }
  return difference / largest;
}

/// distance() of NF4 weights with an adapter beside them, in float32 on `device`, token by token:
/// prompts are multiplied in bfloat16 on cards.
inline double distance_beside_nf4(const std::string& device) {
  const fs::path lora = kData / "quantized" / "bnb-tiny-nf4-dq-lora";
  const Checkpoint file = open_checkpoint(lora / "logits.safetensors");
  LoadOptions options;
  options.device_map = device;
  options.dtype = "float32";
  options.kv_dtype = "float32";
  options.adapters = {{.path = lora}};
  BitsAndBytesConfig compute;
  compute.bnb_4bit_compute_dtype = "float32";
  options.quantization_config = compute;
  const Model model = from_pretrained(model_path("bnb-tiny-nf4-dq"), options);
  const TensorInfo& ids = file.at("input_ids");
  std::vector<std::int64_t> wide(static_cast<std::size_t>(ids.shape.elements()));
  file.read(ids, std::as_writable_bytes(std::span(wide)));
  std::vector<float> got;
  for (std::int64_t row = 0; row < ids.shape[0]; ++row) {
    Session session = model.new_session(ids.shape[1]);
    for (std::int64_t i = 0; i < ids.shape[1]; ++i) {
      const auto id =
          static_cast<std::int32_t>(wide[static_cast<std::size_t>(row * ids.shape[1] + i)]);
      const auto logits = session.forward({&id, 1});
      got.insert(got.end(), logits.begin(), logits.end());
    }
  }
  std::vector<float> want(static_cast<std::size_t>(file.at("logits_f32").shape.elements()));
  file.read(file.at("logits_f32"), std::as_writable_bytes(std::span(want)));
  return distance(got, want);
}

}  // namespace shoehorn
