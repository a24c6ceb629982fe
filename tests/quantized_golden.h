// What was recorded beside the quantized models of tests/data, and how far from it a result is.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"

namespace shoehorn {

inline std::filesystem::path folder(const std::string& name) {
  return std::filesystem::path(SHOEHORN_TEST_DATA) / "quantized" / name;
}

inline std::string model_path(const std::string& name) {
  return folder(name).string();
}

/// What was recorded beside a model.
class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(open_checkpoint(folder(name) / "logits.safetensors")) {}

  LogitsRequest request() const {
    const auto wide = values<std::int64_t>("input_ids");
    LogitsRequest request;
    request.batch = 2;
    request.length = 16;
    request.input_ids.assign(wide.begin(), wide.end());
    return request;
  }
  std::vector<float> logits(const std::string& tensor) const { return values<float>(tensor); }
  std::int64_t footprint() const { return values<std::int64_t>("memory_footprint").at(0); }

 private:
  template <typename T>
  std::vector<T> values(const std::string& tensor) const {
    const TensorInfo& info = file_.at(tensor);
    std::vector<T> out(static_cast<std::size_t>(info.shape.elements()));
    file_.read(info, std::as_writable_bytes(std::span(out)));
    return out;
  }
  Checkpoint file_;
};

/// |got - want| over |want|, in the L2 norm.
inline double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - want[i], 2);
    size += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace shoehorn
