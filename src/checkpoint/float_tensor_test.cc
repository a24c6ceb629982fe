// Weights of 8-bit floats in tiles and in MXFP4: what is found, and what is refused by name.

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/f8_tensor.h"
#include "checkpoint/mxfp4_tensor.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

/// A safetensors file of tensors of zeros.
class FileOfZeros {
 public:
  void add(const std::string& name, const std::string& dtype, const std::string& shape,
           std::size_t bytes) {
    json_ +=
        str_cat(json_.empty() ? "{" : ",", "\"", name, "\":{\"dtype\":\"", dtype,
                "\",\"shape\":", shape, ",\"data_offsets\":[", bytes_, ",", bytes_ + bytes, "]}");
    bytes_ += bytes;
  }
  Checkpoint open(const std::string& config = "{}") const {
    folder_.write("config.json", config);
    folder_.write("model.safetensors", testing::safetensors_file(json_ + "}", bytes_));
    return open_checkpoint(folder_.path());
  }

 private:
  testing::TempFolder folder_;
  std::string json_;
  std::size_t bytes_ = 0;
};

constexpr const char* kTiles = R"({"quantization_config":{"weight_block_size":[128,64]}})";

TEST(FindF8Tensors, TilesAreThoseOfTheConfigAndTheLastOnesAreSmaller) {
  FileOfZeros file;
  file.add("a.weight", "F8_E4M3", "[300,100]", 30000);
  file.add("a.weight_scale_inv", "F32", "[3,2]", 24);
  file.add("b.weight", "F8_E4M3", "[4,4]", 16);  // no scales: a plain tensor
  const Checkpoint checkpoint = file.open(kTiles);
  const auto found = find_f8_tensors(checkpoint);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].path, "a.weight");
  EXPECT_EQ(found[0].form.quant_type, QuantType::kF8Tiles);
  EXPECT_EQ(found[0].form.tile_rows, 128);
  EXPECT_EQ(found[0].form.blocksize, 64);
  EXPECT_EQ(form_bytes(found[0].form, found[0].shape), 30016U + 64);
  EXPECT_EQ(found[0].stored_bytes(), 30024U);
}

TEST(FindF8Tensors, WithoutAConfigShapesSayTheTiles) {
  FileOfZeros file;
  file.add("a.weight", "F8_E4M3", "[6,8]", 48);
  file.add("a.weight_scale_inv", "F32", "[2,4]", 32);
  file.add("b.weight", "F8_E4M3", "[6,8]", 48);
  file.add("b.weight_scale_inv", "BF16", "[]", 2);
  const Checkpoint checkpoint = file.open();
  const auto found = find_f8_tensors(checkpoint);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].form.tile_rows, 3);
  EXPECT_EQ(found[0].form.blocksize, 2);
  EXPECT_EQ(found[1].form.tile_rows, 6);
  EXPECT_EQ(found[1].form.blocksize, 8);
}

TEST(FindF8Tensors, ScalesOfAnotherShapeAreRefused) {
  FileOfZeros file;
  file.add("a.weight", "F8_E4M3", "[300,100]", 30000);
  file.add("a.weight_scale_inv", "F32", "[2,3]", 24);
  const Checkpoint checkpoint = file.open(kTiles);
  EXPECT_THAT(message_of<FormatError>([&] { find_f8_tensors(checkpoint); }),
              HasSubstr("a.weight_scale_inv is [2, 3]; [300, 100] in tiles of 128 x 64 needs "
                        "[3, 2]"));
}

TEST(FindF8Tensors, ScalesThatAreNoFloatsAreRefused) {
  FileOfZeros file;
  file.add("a.weight", "F8_E4M3", "[4,4]", 16);
  file.add("a.weight_scale_inv", "I32", "[1,1]", 4);
  const Checkpoint checkpoint = file.open();
  EXPECT_THAT(message_of<UnsupportedError>([&] { find_f8_tensors(checkpoint); }),
              HasSubstr("a.weight_scale_inv is I32"));
}

TEST(FindF8Tensors, SizesOfTilesThatMakeNoSenseAreRefused) {
  FileOfZeros file;
  file.add("a.weight", "F8_E4M3", "[4,4]", 16);
  file.add("a.weight_scale_inv", "F32", "[1,1]", 4);
  for (const char* sizes : {"[0,128]", "[128]", "[128,-1]", "[128,1099511627776]"}) {
    const Checkpoint checkpoint =
        file.open(str_cat("{\"quantization_config\":{\"weight_block_size\":", sizes, "}}"));
    EXPECT_THAT(message_of<FormatError>([&] { find_f8_tensors(checkpoint); }),
                HasSubstr("weight_block_size"))
        << sizes;
  }
}

TEST(FindMxfp4Tensors, TheShapeIsThatOfWhatIsMultiplied) {
  FileOfZeros file;
  file.add("m.gate_up_proj_blocks", "U8", "[3,4,2,16]", 384);
  file.add("m.gate_up_proj_scales", "U8", "[3,4,2]", 24);
  file.add("other_blocks", "U8", "[4,2,8]", 64);  // of another width: no MXFP4
  const Checkpoint checkpoint = file.open();
  const auto found = find_mxfp4_tensors(checkpoint);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].path, "m.gate_up_proj");
  EXPECT_EQ(found[0].shape, (Shape{3, 4, 64}));
  EXPECT_EQ(found[0].form.dtype, DType::kMXFP4);
  EXPECT_EQ(found[0].stored_bytes(), 408U);
}

TEST(FindMxfp4Tensors, BlocksWithoutScalesAreRefused) {
  FileOfZeros file;
  file.add("m.w_blocks", "U8", "[4,2,16]", 128);
  const Checkpoint checkpoint = file.open();
  EXPECT_THAT(message_of<FormatError>([&] { find_mxfp4_tensors(checkpoint); }),
              HasSubstr("m.w_blocks is U8 [4, 2, 16]; there is no m.w_scales beside it"));
}

TEST(FindMxfp4Tensors, ScalesOfAnotherShapeAreRefused) {
  FileOfZeros file;
  file.add("m.w_blocks", "U8", "[4,2,16]", 128);
  file.add("m.w_scales", "U8", "[2,4]", 8);
  const Checkpoint checkpoint = file.open();
  EXPECT_THAT(message_of<FormatError>([&] { find_mxfp4_tensors(checkpoint); }),
              HasSubstr("the scales of m.w_blocks are U8 [4, 2]"));
}

}  // namespace
}  // namespace shoehorn
