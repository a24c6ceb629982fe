#include "quant/nested_absmax.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "quant/code_books.h"

namespace shoehorn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

/// Numbers of [0, 1) that no order of summation adds up exactly.
std::vector<float> scattered(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = static_cast<std::uint32_t>(i * 2654435761U);
    values[i] = static_cast<float>(static_cast<double>(bits) * 0x1p-32);
  }
  return values;
}

struct RecordedMean {
  std::size_t count;
  std::uint32_t bits;
};

// torch.mean of the same numbers, torch 2.15.0 with one thread: lengths around a lane, an
// accumulator and each level of the cascade.
constexpr std::array kRecordedMeans = {
    RecordedMean{1, 0x00000000},      RecordedMean{2, 0x3E9E377A},
    RecordedMean{3, 0x3E91C449},      RecordedMean{5, 0x3EDF444D},
    RecordedMean{7, 0x3ED9DF23},      RecordedMean{8, 0x3ED38455},
    RecordedMean{9, 0x3EF1BBCE},      RecordedMean{31, 0x3EFE1D29},
    RecordedMean{32, 0x3EF8B7BD},     RecordedMean{33, 0x3EFD3CCA},
    RecordedMean{63, 0x3EFC1A24},     RecordedMean{64, 0x3EFFA6F3},
    RecordedMean{100, 0x3EFC40DD},    RecordedMean{255, 0x3EFF0EC2},
    RecordedMean{256, 0x3EFF4238},    RecordedMean{511, 0x3EFF6AE3},
    RecordedMean{512, 0x3EFFBBE9},    RecordedMean{513, 0x3EFFAB06},
    RecordedMean{700, 0x3EFF478B},    RecordedMean{1000, 0x3EFFFCE7},
    RecordedMean{2047, 0x3EFFEEA8},   RecordedMean{4095, 0x3EFFF86B},
    RecordedMean{8192, 0x3EFFFEA6},   RecordedMean{8193, 0x3F0002CD},
    RecordedMean{16384, 0x3EFFF4C6},  RecordedMean{20000, 0x3EFFF989},
    RecordedMean{32767, 0x3EFFFE8C},  RecordedMean{65536, 0x3EFFFF86},
    RecordedMean{100000, 0x3F00001B}, RecordedMean{262144, 0x3F000003},
    RecordedMean{300001, 0x3EFFFFB3},
};

TEST(TorchMean, AddsInTheOrderOfTorchOnOneThread) {
  for (const RecordedMean& recorded : kRecordedMeans) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(torch_mean(scattered(recorded.count))), recorded.bits)
        << recorded.count << " values";
  }
}

TEST(TorchMean, OfNothingIsZero) {
  EXPECT_EQ(torch_mean({}), 0.0F);
}

struct Nested {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
  float offset = -1;
};

Nested nested(const std::vector<float>& absmax, BnbParity parity) {
  Nested out{.codes = std::vector<std::uint8_t>(absmax.size(), 9),
             .absmax = std::vector<float>((absmax.size() + 255) / 256)};
  nest_absmax(absmax, parity, out.codes, out.absmax, out.offset);
  return out;
}

TEST(NestAbsmax, EqualAbsmaxReadBackExactly) {
  for (const BnbParity parity : {BnbParity::kNone, BnbParity::kCpu, BnbParity::kCuda}) {
    const Nested found = nested(std::vector<float>(300, 0.3125F), parity);
    EXPECT_THAT(found.codes, Each(0));
    EXPECT_THAT(found.absmax, ElementsAre(0.0F, 0.0F));
    std::vector<float> back(300);
    unnest_absmax(found.codes, found.absmax, dynamic_map(), found.offset, back);
    EXPECT_THAT(back, Each(0.3125F));
  }
}

TEST(NestAbsmax, NothingIsNothing) {
  EXPECT_EQ(nested({}, BnbParity::kNone).offset, 0.0F);
  EXPECT_EQ(nested({}, BnbParity::kCpu).offset, 0.0F);
}

TEST(NestAbsmax, WithoutParityTheMeanIsThatOfDoublePrecision) {
  double sum = 0;
  const std::vector<float> absmax = scattered(20000);
  for (const float value : absmax) sum += value;
  EXPECT_EQ(nested(absmax, BnbParity::kNone).offset, static_cast<float>(sum / 20000));
  EXPECT_EQ(nested(absmax, BnbParity::kCuda).offset, static_cast<float>(sum / 20000));
  EXPECT_NE(nested(absmax, BnbParity::kCpu).offset, static_cast<float>(sum / 20000));
}

TEST(NestAbsmax, EveryRunOf256HasItsOwnScale) {
  std::vector<float> absmax(512, 1.0F);
  absmax[0] = 3.0F;
  absmax[511] = 7.0F;
  const Nested found = nested(absmax, BnbParity::kNone);
  const float offset = 520.0F / 512.0F;
  EXPECT_EQ(found.offset, offset);
  EXPECT_THAT(found.absmax, ElementsAre(3.0F - offset, 7.0F - offset));
}

TEST(NestAbsmax, RefusesLengthsThatDoNotFit) {
  const std::array<float, 300> absmax{};
  std::array<std::uint8_t, 300> codes{};
  std::array<float, 2> scales{};
  float offset = 0;
  EXPECT_THROW(nest_absmax(absmax, BnbParity::kNone, codes, std::span(scales).first<1>(), offset),
               ArgumentError);
  EXPECT_THROW(nest_absmax(absmax, BnbParity::kNone, std::span(codes).first<299>(), scales, offset),
               ArgumentError);
}

TEST(UnnestAbsmax, RoundsTheProductAndTheSum) {
  const std::array<std::uint8_t, 2> codes = {200, 30};
  const std::array<float, 1> scales = {0.7F};
  std::array<float, 2> absmax{};
  unnest_absmax(codes, scales, dynamic_map(), 0.3F, absmax);
  const float first = dynamic_map()[200] * 0.7F;
  const float second = dynamic_map()[30] * 0.7F;
  EXPECT_THAT(absmax, ElementsAre(first + 0.3F, second + 0.3F));
}

TEST(UnnestAbsmax, RefusesLengthsThatDoNotFit) {
  const std::array<std::uint8_t, 2> codes{};
  const std::array<float, 1> scales{};
  std::array<float, 3> absmax{};
  EXPECT_THROW(unnest_absmax(codes, scales, dynamic_map(), 0.0F, absmax), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
