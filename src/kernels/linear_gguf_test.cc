#include "kernels/linear_gguf.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "kernels/linear.h"
#include "kernels/testing_gguf.h"
#include "tensor/half.h"

namespace shoehorn {
namespace {

using kernel_test::block_values;
using kernel_test::Blocks;
using kernel_test::BlockType;
using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::OddBytes;
using kernel_test::put_half;
using kernel_test::random_floats;
using kernel_test::same_bits;

// Those that have kernels of processors.
constexpr auto kTypes = std::span(kernel_test::kBlockTypes).first(10);

// The types on the instruction sets that have a kernel for them.
template <typename Check>
void for_each_path(const Check& check) {
  for (const BlockType& type : kTypes) {
    for (const Isa isa : isas()) {
      if (isa == Isa::kRef) continue;
      SCOPED_TRACE(std::string(to_string(isa)) + " " + std::string(to_string(type.dtype)));
      check(type, isa);
    }
  }
}

std::vector<float> product(Blocks& blocks, std::span<const float> x, std::int64_t rows, Isa isa,
                           std::span<const float> bias = {}) {
  Machine machine(isa);
  const WeightView weight = blocks.view();
  std::vector<float> y(static_cast<std::size_t>(rows * weight.shape[0]), -1e30F);
  linear(weight, bias, x, rows, y, machine.context());
  return y;
}

std::vector<float> sums(const std::vector<float>& values, const std::vector<float>& x,
                        std::int64_t rows) {
  const std::size_t k = x.size() / static_cast<std::size_t>(rows);
  std::vector<float> y;
  for (std::size_t m = 0; m < static_cast<std::size_t>(rows); ++m) {
    for (std::size_t n = 0; n < values.size() / k; ++n) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i) {
        sum += static_cast<double>(values[n * k + i]) * x[m * k + i];
      }
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

// As in linear_test.cc: of a float32 sum of k products of numbers of about 1.
double tolerance(std::int64_t k) {
  return 1e-6 + 4e-7 * static_cast<double>(k);
}

void expect_sums(const BlockType& type, Isa isa, std::int64_t rows, std::int64_t outputs,
                 std::int64_t k) {
  Blocks blocks(type, outputs, k);
  const auto x = random_floats(rows * k, 2);
  const auto found = product(blocks, x, rows, isa);
  EXPECT_LE(kernel_test::largest_difference(found, sums(blocks.values(), x, rows)), tolerance(k))
      << rows << " rows, " << outputs << " outputs, k " << k;
}

TEST(GgufDotPath, EveryTypeOfAGgufFileInUseHasOne) {
  for_each_path(
      [](const BlockType& type, Isa isa) { EXPECT_NE(gguf_dot_path(type.dtype, isa), nullptr); });
}

TEST(GgufDotPath, OtherTypesHaveNone) {
  for (const Isa isa : isas()) {
    for (const DType dtype : {DType::kF32, DType::kQ2_K, DType::kIQ4_XS}) {
      EXPECT_EQ(gguf_dot_path(dtype, isa), nullptr) << to_string(dtype);
    }
  }
}

TEST(GgufDotPath, EveryNumberOfBlocksIsSummed) {
  for_each_path([](const BlockType& type, Isa isa) {
    for (std::int64_t blocks = 1; blocks <= 50; ++blocks) {
      expect_sums(type, isa, 1, 5, blocks * block_values(type));
    }
  });
}

TEST(GgufDotPath, NoBlocksLeaveTheBias) {
  for_each_path([](const BlockType& type, Isa isa) {
    const std::vector<float> bias = {1, 2, 3, 4, 5};
    std::vector<float> y(bias.size());
    const DotJob job{.k = 0, .rows = 1, .bias = bias.data(), .y = y.data(), .ldy = 5};
    const DotPath dot = gguf_dot_path(type.dtype, isa);
    ASSERT_NE(dot, nullptr);
    dot(job, 0, 5);
    EXPECT_EQ(y, bias);
  });
}

TEST(GgufDotPath, EveryNumberOfRowsIsSummed) {
  for_each_path([](const BlockType& type, Isa isa) {
    for (std::int64_t rows = 1; rows <= 9; ++rows) {
      for (const std::int64_t blocks : {1, 16, 19}) {
        expect_sums(type, isa, rows, 6, blocks * block_values(type));
      }
    }
  });
}

TEST(GgufDotPath, EveryNumberOfOutputsIsSummed) {
  for_each_path([](const BlockType& type, Isa isa) {
    for (const std::int64_t rows : {1, 3}) {
      for (std::int64_t outputs = 1; outputs <= 9; ++outputs) {
        expect_sums(type, isa, rows, outputs, 512);
      }
    }
  });
}

TEST(GgufDotPath, OutputsOfManyThreadsAreSummed) {
  for_each_path([](const BlockType& type, Isa isa) { expect_sums(type, isa, 1, 700, 1024); });
}

TEST(GgufDotPath, ResultDoesNotDependOnHowTheRangeWasCut) {
  for_each_path([](const BlockType& type, Isa isa) {
    const std::int64_t outputs = 23;
    const std::int64_t k = 768;
    Blocks blocks(type, outputs, k);
    for (const std::int64_t rows : {1, 2, 3, 4, 7, 8}) {
      const auto x = random_floats(rows * k, 2);
      std::vector<float> whole(static_cast<std::size_t>(rows * outputs));
      std::vector<float> cut(whole.size());
      DotJob job{.weight = blocks.block(0),
                 .row_bytes = packed_bytes(type.dtype, k).value(),
                 .k = k,
                 .x = x.data(),
                 .rows = rows,
                 .y = whole.data(),
                 .ldy = outputs};
      const DotPath dot = gguf_dot_path(type.dtype, isa);
      ASSERT_NE(dot, nullptr);
      dot(job, 0, outputs);
      job.y = cut.data();
      const std::int64_t ends[] = {0, 1, 1, 3, 8, 15, outputs};
      for (std::size_t i = 0; i + 1 < std::size(ends); ++i) dot(job, ends[i], ends[i + 1]);
      EXPECT_TRUE(same_bits(whole, cut)) << rows << " rows";
    }
  });
}

TEST(GgufDotPath, ResultDoesNotDependOnAlignment) {
  for_each_path([](const BlockType& type, Isa isa) {
    const auto x = random_floats(768, 2);
    Blocks at_0(type, 9, 768, 0);
    const auto expected = product(at_0, x, 1, isa);
    for (const std::size_t offset : {1U, 2U, 15U, 32U, 63U}) {
      Blocks blocks(type, 9, 768, offset);
      EXPECT_TRUE(same_bits(product(blocks, x, 1, isa), expected)) << offset;
    }
  });
}

TEST(GgufDotPath, BiasIsAdded) {
  for_each_path([](const BlockType& type, Isa isa) {
    Blocks blocks(type, 7, 512);
    for (const std::int64_t rows : {1, 5}) {
      const auto x = random_floats(rows * 512, 2);
      const auto bias = random_floats(7, 3);
      const auto plain = product(blocks, x, rows, isa);
      const auto found = product(blocks, x, rows, isa, bias);
      for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], plain[i] + bias[i % 7]);
    }
  });
}

TEST(GgufDotPath, AccumulateAddsToWhatIsThere) {
  for_each_path([](const BlockType& type, Isa isa) {
    Blocks blocks(type, 7, 512);
    for (const std::int64_t rows : {1, 5}) {
      Machine machine(isa);
      const auto x = random_floats(rows * 512, 2);
      const auto before = random_floats(rows * 7, 3);
      const auto plain = product(blocks, x, rows, isa);
      auto y = before;
      const WeightView weight = blocks.view();
      const LinearTask task{.weight = &weight, .bias = {}, .y = y, .accumulate = true};
      linear_many({&task, 1}, x, rows, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], before[i] + plain[i]);
    }
  });
}

void expect_same_kind(const std::vector<float>& found, const std::vector<float>& expected) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(std::isnan(found[i]), std::isnan(expected[i])) << i;
    EXPECT_EQ(std::isinf(found[i]), std::isinf(expected[i])) << i;
    if (std::isinf(expected[i])) {
      EXPECT_EQ(found[i], expected[i]) << i;
    }
  }
}

// A scale that is no finite number makes that, or NaN, of its row's sum: products may be of one
// sign, of either sign, or zeros.
void expect_as_decoded(const BlockType& type, Isa isa, float scale) {
  for (const std::int64_t rows : {1, 4}) {
    Blocks blocks(type, 5, 768);
    blocks.set_scale(0, scale);
    const auto values = blocks.values();
    auto x = random_floats(rows * 768, 2);
    expect_same_kind(product(blocks, x, rows, isa), sums(values, x, rows));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::copysign(1.0F, values[i % 768]);
    expect_same_kind(product(blocks, x, rows, isa), sums(values, x, rows));
    x.assign(x.size(), 0.0F);
    expect_same_kind(product(blocks, x, rows, isa), sums(values, x, rows));
  }
}

TEST(GgufDotPath, InfiniteScalesAreAsDecoded) {
  for_each_path([](const BlockType& type, Isa isa) {
    if (type.dtype == DType::kMXFP4) return;  // its scales are finite, all but 2^128
    expect_as_decoded(type, isa, std::numeric_limits<float>::infinity());
    expect_as_decoded(type, isa, -std::numeric_limits<float>::infinity());
  });
}

TEST(GgufDotPath, NanScalesAreAsDecoded) {
  for_each_path([](const BlockType& type, Isa isa) {
    if (type.dtype == DType::kMXFP4) return;
    expect_as_decoded(type, isa, std::numeric_limits<float>::quiet_NaN());
  });
}

// Subnormal halves are numbers like any other.
TEST(GgufDotPath, SmallestScalesAreNotLost) {
  for_each_path([](const BlockType& type, Isa isa) {
    Blocks blocks(type, 3, 256);
    for (std::size_t i = 0; i < blocks.size() / dtype_info(type.dtype).block_bytes; ++i) {
      blocks.set_scale(i, 0x1p-24F);
      if (type.m_at != 0) put_half(blocks.block(i) + type.m_at, 0);
    }
    const auto values = blocks.values();
    std::vector<float> x(256);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0x1p20F * values[i];
    const auto found = product(blocks, x, 1, isa);
    const auto expected = sums(values, x, 1);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(found[i], expected[i], 1e-5 * expected[0]);
    }
  });
}

// Pages of which the last cannot be read.
class GuardedPages {
 public:
  explicit GuardedPages(std::size_t bytes)
      : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))),
        size_((bytes + page_ - 1) / page_ * page_),
        data_(static_cast<std::byte*>(::mmap(nullptr, size_ + page_, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    ::mprotect(data_ + size_, page_, PROT_NONE);
  }
  ~GuardedPages() { ::munmap(data_, size_ + page_); }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  std::byte* end() { return data_ + size_; }

 private:
  std::size_t page_;
  std::size_t size_;
  std::byte* data_;
};

TEST(GgufDotPath, NothingBehindTheLastBlockIsRead) {
  for_each_path([](const BlockType& type, Isa isa) {
    for (const std::int64_t count : {1, 16, 17, 20}) {
      const std::int64_t k = count * block_values(type);
      for (const std::int64_t outputs : {1, 4, 5}) {
        Blocks blocks(type, outputs, k);
        GuardedPages pages(blocks.size());
        std::byte* const copy = pages.end() - blocks.size();
        std::memcpy(copy, blocks.block(0), blocks.size());
        const auto x = random_floats(k, 2);
        std::vector<float> y(static_cast<std::size_t>(outputs));
        const DotJob job{.weight = copy,
                         .row_bytes = packed_bytes(type.dtype, k).value(),
                         .k = k,
                         .x = x.data(),
                         .rows = 1,
                         .y = y.data(),
                         .ldy = outputs};
        const DotPath dot = gguf_dot_path(type.dtype, isa);
        ASSERT_NE(dot, nullptr);
        dot(job, 0, outputs);
        EXPECT_TRUE(same_bits(y, product(blocks, x, 1, isa)));
      }
    }
  });
}

}  // namespace
}  // namespace shoehorn
