#include "kernels/embedding.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::Weight;

TEST(EmbedRows, CopiesTheChosenRows) {
  for (const Isa isa : isas()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      Machine machine(isa);
      const Weight table(dtype, 10, 37, 1, /*offset=*/2);
      const auto values = table.values();
      const std::vector<std::int32_t> ids = {9, 0, 4, 4};
      std::vector<float> out(ids.size() * 37);
      embed_rows(table.view(), ids, out, machine.context());
      for (std::size_t i = 0; i < out.size(); ++i) {
        EXPECT_EQ(out[i], values[static_cast<std::size_t>(ids[i / 37]) * 37 + i % 37]);
      }
    }
  }
}

TEST(EmbedRows, NamesAnIdOutsideTheTable) {
  Machine machine(Isa::kRef);
  const Weight table(DType::kF32, 10, 4, 1);
  for (const std::int32_t id : {-1, 10}) {
    const std::vector<std::int32_t> ids = {id};
    std::vector<float> out(4);
    try {
      embed_rows(table.view(), ids, out, machine.context());
      FAIL() << "no error";
    } catch (const ArgumentError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("token " + std::to_string(id)));
    }
  }
}

TEST(EmbedRows, RefusesAnOutputOfTheWrongSize) {
  Machine machine(Isa::kRef);
  const Weight table(DType::kF32, 10, 4, 1);
  const std::vector<std::int32_t> ids = {1, 2};
  std::vector<float> out(7);
  EXPECT_THROW(embed_rows(table.view(), ids, out, machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
