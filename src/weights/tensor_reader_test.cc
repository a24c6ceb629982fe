#include "weights/tensor_reader.h"

#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "tensor/half.h"
#include "weights/testing_checkpoint.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAreArray;

std::unique_ptr<Checkpoint> one_tensor(const std::string& file, DType dtype, Shape shape,
                                       RowOrder order = {}) {
  return testing::make_checkpoint(std::filesystem::path(::testing::TempDir()) / file,
                                  {{"w", dtype, shape, order}});
}

std::vector<std::byte> stored_bytes(const Checkpoint& checkpoint) {
  std::vector<std::byte> bytes(checkpoint.at("w").bytes);
  checkpoint.read(checkpoint.at("w"), bytes);
  return bytes;
}

TEST(ReadRows, PiecesMakeTheWhole) {
  const auto checkpoint = one_tensor("pieces", DType::kBF16, {7, 5});
  const TensorInfo& info = checkpoint->at("w");
  ReadScratch scratch;
  std::vector<std::byte> whole(70);
  for (std::int64_t first = 0; first < 7; first += 3) {
    const std::int64_t count = std::min<std::int64_t>(3, 7 - first);
    read_rows(*checkpoint, info, DType::kBF16, first, count,
              std::span(whole).subspan(static_cast<std::size_t>(first) * 10,
                                       static_cast<std::size_t>(count) * 10),
              scratch, Isa::kRef);
  }
  EXPECT_THAT(whole, ElementsAreArray(stored_bytes(*checkpoint)));
}

TEST(ReadRows, ConvertsThroughFloat32) {
  const auto checkpoint = one_tensor("convert", DType::kF32, {3, 4});
  const auto stored = stored_bytes(*checkpoint);
  ReadScratch scratch;
  std::vector<std::byte> out(24);
  read_rows(*checkpoint, checkpoint->at("w"), DType::kBF16, 0, 3, out, scratch, Isa::kRef);
  for (std::size_t i = 0; i < 12; ++i) {
    float value;
    std::uint16_t got;
    std::memcpy(&value, stored.data() + 4 * i, 4);
    std::memcpy(&got, out.data() + 2 * i, 2);
    EXPECT_EQ(got, f32_to_bf16(value)) << i;
  }
}

TEST(ReadRows, UndoesTheRowOrderOfLlamaGguf) {
  // Two heads of four rows: within a head the file has rows 0, 2, 1, 3 of Hugging Face's order.
  const auto checkpoint = one_tensor("order", DType::kF16, {8, 3}, {.interleaved_heads = 2});
  const auto stored = stored_bytes(*checkpoint);
  ReadScratch scratch;
  const std::vector<std::size_t> file_row = {0, 2, 1, 3, 4, 6, 5, 7};
  for (const std::int64_t step : {1, 3, 8}) {
    for (std::int64_t first = 0; first < 8; first += step) {
      const std::int64_t count = std::min<std::int64_t>(step, 8 - first);
      std::vector<std::byte> out(static_cast<std::size_t>(count) * 6);
      read_rows(*checkpoint, checkpoint->at("w"), DType::kF16, first, count, out, scratch,
                Isa::kRef);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto at = file_row[static_cast<std::size_t>(first + i)] * 6;
        EXPECT_EQ(std::memcmp(out.data() + i * 6, stored.data() + at, 6), 0) << first << "+" << i;
      }
    }
  }
}

TEST(ReadRows, BringsABiasInTheOrderOfItsMatrix) {
  const auto checkpoint = one_tensor("bias", DType::kF32, {8}, {.interleaved_heads = 2});
  const auto stored = stored_bytes(*checkpoint);
  ReadScratch scratch;
  std::vector<std::byte> out(32);
  EXPECT_EQ(row_layout(checkpoint->at("w")).rows, 8);
  read_rows(*checkpoint, checkpoint->at("w"), DType::kF32, 0, 8, out, scratch, Isa::kRef);
  EXPECT_EQ(std::memcmp(out.data() + 4, stored.data() + 8, 4), 0);
}

TEST(ReadRows, NamesATensorThatHoldsNoFloats) {
  const auto checkpoint = one_tensor("ints", DType::kI32, {2, 2});
  ReadScratch scratch;
  std::vector<std::byte> out(8);
  try {
    read_rows(*checkpoint, checkpoint->at("w"), DType::kBF16, 0, 2, out, scratch, Isa::kRef);
    FAIL();
  } catch (const UnsupportedError& error) {
    EXPECT_NE(std::string(error.what()).find("w: stored as I32"), std::string::npos);
  }
}

TEST(RowsPerPiece, TakesWholeHeads) {
  const auto checkpoint = one_tensor("heads", DType::kF32, {12, 4}, {.interleaved_heads = 3});
  EXPECT_EQ(rows_per_piece(checkpoint->at("w"), 16 * 6), 4);
  EXPECT_EQ(rows_per_piece(checkpoint->at("w"), 1), 4);
  EXPECT_EQ(rows_per_piece(checkpoint->at("w"), 16 * 8), 8);
}

}  // namespace
}  // namespace shoehorn
