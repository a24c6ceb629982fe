#include "checkpoint/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Reads a file of the reference library and writes what was in it again.
std::string rewritten(const fs::path& original, const fs::path& copy) {
  const File file(original);
  const SafetensorsHeader header = read_safetensors_header(file);
  std::vector<Tensor> owners;
  std::vector<NamedTensor> tensors;
  for (auto info = header.tensors.rbegin(); info != header.tensors.rend(); ++info) {
    owners.emplace_back(info->dtype, info->shape);
    file.read_at(info->offset, owners.back().bytes());
    tensors.push_back({info->name, owners.back().view()});
  }
  write_safetensors(copy, tensors, header.metadata);
  return read_text_file(copy);
}

class RecordedFile : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedFile, IsWrittenByteForByteAsTheReferenceWroteIt) {
  const testing::TempFolder folder;
  const fs::path original = fs::path(SHOEHORN_TEST_DATA) / "models" / GetParam();
  EXPECT_TRUE(rewritten(original, folder.path() / "copy") == read_text_file(original));
}

// Of safetensors 0.8.0; together F64, I64, F32 and BF16, several types in one file.
INSTANTIATE_TEST_SUITE_P(WriteSafetensors, RecordedFile,
                         ::testing::Values("llama/model.safetensors", "llama/logits.safetensors",
                                           "llama-bf16/model.safetensors",
                                           "llama-bf16/logits.safetensors",
                                           "qwen2-f64/model.safetensors",
                                           "qwen2-f64/logits.safetensors"));

class WriteSafetensors : public ::testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "out.safetensors"; }
  TensorView view(DType dtype, Shape shape) const {
    return {dtype, std::move(shape), bytes_.data(), Device{}};
  }
  const testing::TempFolder folder_;
  const std::vector<std::byte> bytes_ = std::vector<std::byte>(64, std::byte{7});
};

TEST_F(WriteSafetensors, PutsWideTypesFirstThenSortsByName) {
  write_safetensors(path(), std::vector<NamedTensor>{{"a", view(DType::kU8, {1})},
                                                     {"z", view(DType::kF32, {1})},
                                                     {"b", view(DType::kF32, {1})},
                                                     {"m", view(DType::kI64, {1})},
                                                     {"n", view(DType::kBF16, {1})}});
  std::vector<std::string> names;
  for (const auto& info : read_safetensors_header(File(path())).tensors) names.push_back(info.name);
  EXPECT_THAT(names, ElementsAre("m", "b", "z", "n", "a"));
}

TEST_F(WriteSafetensors, AlignsTheDataToEightBytes) {
  for (const char* name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    write_safetensors(path(), std::vector<NamedTensor>{{name, view(DType::kF64, {1})}});
    EXPECT_EQ(read_safetensors_header(File(path())).tensors.at(0).offset % 8, 0U) << name;
  }
}

TEST_F(WriteSafetensors, WritesScalarsEmptyTensorsAndNothing) {
  write_safetensors(
      path(), std::vector<NamedTensor>{{"scalar", view(DType::kF32, {})},
                                       {"empty", {DType::kF32, Shape{0, 3}, nullptr, Device{}}}});
  EXPECT_EQ(read_safetensors_header(File(path())).tensors.size(), 2U);
  write_safetensors(path(), {});
  EXPECT_EQ(read_safetensors_header(File(path())).tensors.size(), 0U);
}

TEST_F(WriteSafetensors, EscapesNamesAndMetadata) {
  const std::string name = "a\"\\\n\x01\xc3\xa9";
  const std::vector<std::pair<std::string, std::string>> metadata = {{"k\t", "v\"w"}, {"l", ""}};
  write_safetensors(path(), std::vector<NamedTensor>{{name, view(DType::kU8, {1})}}, metadata);
  const auto header = read_safetensors_header(File(path()));
  EXPECT_EQ(header.tensors.at(0).name, name);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("k\t", "v\"w"), Pair("l", "")));
}

TEST_F(WriteSafetensors, ReplacesTheFileAndLeavesNoOther) {
  folder_.write("out.safetensors", "before");
  write_safetensors(path(), std::vector<NamedTensor>{{"a", view(DType::kU8, {1})}});
  EXPECT_EQ(read_safetensors_header(File(path())).tensors.size(), 1U);
  EXPECT_EQ(files_in(folder_.path()), 1U);
}

TEST_F(WriteSafetensors, KeepsWhatWasThereWhereItCannotWrite) {
  fs::create_directory(path());
  EXPECT_THROW(write_safetensors(path(), {}), FileError);
  EXPECT_THROW(write_safetensors(folder_.path() / "absent" / "out.safetensors", {}), FileError);
  EXPECT_EQ(files_in(folder_.path()), 1U);
}

TEST_F(WriteSafetensors, WritesToDevicesWithoutReplacingThem) {
  write_safetensors("/dev/null", std::vector<NamedTensor>{{"a", view(DType::kU8, {1})}});
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(WriteSafetensors, RefusesTwoTensorsOfOneName) {
  const std::vector<NamedTensor> twice = {{"a", view(DType::kU8, {1})},
                                          {"a", view(DType::kI8, {1})}};
  EXPECT_THAT(testing::message_of<ArgumentError>([&] { write_safetensors(path(), twice); }),
              HasSubstr("named a"));
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(WriteSafetensors, RefusesTheNameOfTheMetadata) {
  EXPECT_THROW(
      write_safetensors(path(), std::vector<NamedTensor>{{"__metadata__", view(DType::kU8, {1})}}),
      ArgumentError);
}

TEST_F(WriteSafetensors, RefusesTypesTheFormatDoesNotKnow) {
  for (const DType dtype : {DType::kQ4_0, DType::kC128}) {
    EXPECT_THROW(write_safetensors(path(), std::vector<NamedTensor>{{"a", view(dtype, {32})}}),
                 ArgumentError);
  }
}

TEST_F(WriteSafetensors, RefusesTensorsThatAreNotInMemory) {
  const TensorView absent{DType::kU8, Shape{1}, nullptr, Device{}};
  EXPECT_THROW(write_safetensors(path(), std::vector<NamedTensor>{{"a", absent}}), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
