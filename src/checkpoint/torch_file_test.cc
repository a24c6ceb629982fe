// What torch.save writes, well meant and otherwise. tests/data/torch/ holds files that torch itself
// wrote, with what it read back (tests/data/torch/make_goldens.py).
#include "checkpoint/torch_file.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_torch.h"

namespace shoehorn {
namespace {

namespace pkl = testing::pkl;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::torch_zip;
using namespace std::string_literals;

pickle::TorchTensors read(const std::string& file) {
  return read_torch_file(source_of("m.bin", testing::as_bytes(file)));
}
template <typename E = FormatError>
std::string refusal(const std::string& file) {
  return testing::message_of<E>([&] { read(file); });
}

const std::string kSix(24, 'x');  // six floats

std::string one_tensor(const std::string& tensor) {
  return torch_zip(pkl::dict({{"w", tensor}}), {{"0", kSix}});
}

TEST(ReadTorchFile, FindsTheBytesOfAStorage) {
  const std::string storage = pkl::storage("FloatStorage", "0", 6, "cuda:3");
  const std::string file = one_tensor(pkl::tensor(storage, 0, {2, 3}, {3, 1}));
  const auto tensors = read(file).tensors;
  ASSERT_EQ(tensors.size(), 1U);
  EXPECT_EQ(tensors[0].name, "w");
  EXPECT_EQ(tensors[0].dtype, DType::kF32);
  EXPECT_EQ(tensors[0].shape, (Shape{2, 3}));
  EXPECT_THAT(tensors[0].strides, IsEmpty());
  EXPECT_EQ(file.substr(tensors[0].offset, tensors[0].bytes), kSix);
}

TEST(ReadTorchFile, SharesAStorageAmongTensors) {
  const std::string storage = pkl::storage("FloatStorage", "0", 6);
  const auto tensors = read(torch_zip(pkl::dict({{"a", pkl::tensor(storage, 2, {4}, {1})},
                                                 {"b", pkl::tensor(storage, 0, {3, 2}, {1, 3})},
                                                 {"c", pkl::tensor(storage, 0, {6}, {1})}}),
                                      {{"0", kSix}}))
                           .tensors;
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(tensors[2].name, "a");
  EXPECT_EQ(tensors[2].offset, tensors[0].offset + 8);
  EXPECT_THAT(tensors[0].strides, ElementsAre(1, 3));
  EXPECT_THAT(tensors[1].strides, IsEmpty());
}

TEST(ReadTorchFile, NotesWhatIsNoTensor) {
  const std::string tensor = pkl::tensor(pkl::storage("FloatStorage", "0", 6), 0, {6}, {1});
  const auto result =
      read(torch_zip(pkl::dict({{"w", tensor}, {"epoch", "K\x03"}}), {{"0", kSix}}));
  EXPECT_EQ(result.tensors.size(), 1U);
  EXPECT_THAT(result.notes, ElementsAre(HasSubstr("not read: epoch (an int)")));
}

TEST(ReadTorchFile, RefusesAStorageThatIsNotWhatItsEntryHolds) {
  const auto tensor = [](int numel) {
    return pkl::tensor(pkl::storage("FloatStorage", "0", numel), 0, {1}, {1});
  };
  EXPECT_THAT(refusal(one_tensor(tensor(5))),
              HasSubstr("entry m/data/0: has 24 bytes; its pickle says 20"));
  EXPECT_THAT(refusal(one_tensor(tensor(7))), HasSubstr("its pickle says 28"));
  EXPECT_THAT(refusal(one_tensor(tensor(-1))), HasSubstr("has no number of elements"));
  EXPECT_THAT(refusal(torch_zip(pkl::dict({{"w", tensor(6)}}), {})),
              HasSubstr("has no entry m/data/0"));
}

TEST(ReadTorchFile, RefusesTensorsThatReachPastTheirStorage) {
  const std::string storage = pkl::storage("FloatStorage", "0", 6);
  const auto message = [&](int offset, const std::vector<int>& size,
                           const std::vector<int>& stride) {
    return refusal(one_tensor(pkl::tensor(storage, offset, size, stride)));
  };
  EXPECT_THAT(message(1, {6}, {1}), HasSubstr("m.bin: w: reaches past the 6 values"));
  EXPECT_THAT(message(0, {2, 3}, {4, 1}), HasSubstr("reaches past"));
  EXPECT_THAT(message(7, {0}, {1}), HasSubstr("reaches past"));
  EXPECT_THAT(message(-1, {2}, {1}), HasSubstr("its storage offset is -1"));
  EXPECT_THAT(message(5, {2}, {-1}), HasSubstr("its stride is -1"));
  EXPECT_THAT(message(0, {-2}, {1}), HasSubstr("its size is -2"));
  EXPECT_THAT(message(0, {2, 3}, {3}), HasSubstr("1 strides for 2 dimensions"));
  EXPECT_THAT(message(0, {0x7FFFFFFF, 0x7FFFFFFF, 2}, {0, 0, 1}), HasSubstr("more bytes than"));
}

TEST(ReadTorchFile, RefusesOtherPicklesThanStateDicts) {
  const std::string tensor = pkl::tensor(pkl::storage("FloatStorage", "0", 6), 0, {6}, {1});
  EXPECT_THAT(refusal(torch_zip("](K\x01"
                                "e",
                                {})),
              HasSubstr("holds a list; a state_dict"));
  EXPECT_THAT(
      refusal(torch_zip(pkl::dict({{"state_dict", pkl::dict({{"w", tensor}})}}), {{"0", kSix}})),
      HasSubstr("holds no tensors but state_dict (a dict)"));
  EXPECT_THAT(refusal(torch_zip(pkl::dict({{"w", tensor}, {"w", tensor}}), {{"0", kSix}})),
              HasSubstr("w: is there twice"));
  EXPECT_THAT(refusal(torch_zip("}K\x01" + tensor + "s", {{"0", kSix}})),
              HasSubstr("a key of its dict is an int"));
}

TEST(ReadTorchFile, RefusesAModuleWithItsCode) {
  const std::string id = pkl::tuple({pkl::text("module"), pkl::text("x"), pkl::text("y")}) + "Q";
  EXPECT_THAT(
      refusal<UnsupportedError>(torch_zip(pkl::dict({{"w", pkl::tensor(id, 0, {1}, {1})}}), {})),
      HasSubstr("save its state_dict()"));
}

TEST(ReadTorchFile, RefusesTheOtherByteOrder) {
  EXPECT_THAT(refusal<UnsupportedError>(
                  testing::zip_file({{"m/data.pkl", pkl::file("}")}, {"m/byteorder", "big"}})),
              HasSubstr("byteorder is big"));
}

TEST(ReadTorchFile, RefusesOtherArchivesAndFiles) {
  EXPECT_THAT(refusal(testing::zip_file({{"m/model.json", "{}"}})),
              HasSubstr("without a data.pkl"));
  EXPECT_THAT(refusal(testing::zip_file({{"a/data.pkl", ""}, {"b/data.pkl", ""}})),
              HasSubstr("has both"));
  EXPECT_THAT(refusal("Dear reader, this is a letter."),
              HasSubstr("is not what torch.save writes"));
  EXPECT_THAT(refusal(""), HasSubstr("is not what torch.save writes"));
}

// The older form.

std::string legacy(const std::string& state_dict, const std::string& keys,
                   const std::string& storages) {
  return pkl::file("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pkl::file("M\xe9\x03") +
         pkl::file(pkl::dict({{"little_endian", "\x88"}})) + pkl::file(state_dict) +
         pkl::file(keys) + storages;
}
std::string legacy_storage(std::int64_t numel, const std::string& bytes) {
  return testing::le_bytes(numel) + bytes;
}
std::string legacy_id(const std::string& view) {
  return pkl::tuple({pkl::text("storage"), pkl::global("torch.cuda", "FloatStorage"),
                     pkl::text("7"), pkl::text("cuda:0"), pkl::integer(6), view}) +
         "Q";
}
const std::string kKeys = "](" + pkl::text("7") + "e";

TEST(ReadTorchFile, ReadsTheOlderForm) {
  const std::string view = pkl::tuple({pkl::text("v"), pkl::integer(2), pkl::integer(4)});
  const std::string file = legacy(pkl::dict({{"a", pkl::tensor(legacy_id("N"), 0, {2, 3}, {3, 1})},
                                             {"b", pkl::tensor(legacy_id(view), 1, {3}, {1})}}),
                                  kKeys, legacy_storage(6, "aaaabbbbccccddddeeeeffff"));
  const auto tensors = read(file).tensors;
  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(file.substr(tensors[0].offset, tensors[0].bytes), "aaaabbbbccccddddeeeeffff");
  EXPECT_EQ(file.substr(tensors[1].offset, tensors[1].bytes), "ddddeeeeffff");
}

TEST(ReadTorchFile, RefusesAnOlderFileThatDisagreesWithItself) {
  const auto dict = [](const std::string& view, int count = 1) {
    return pkl::dict({{"a", pkl::tensor(legacy_id(view), 0, {count}, {1})}});
  };
  EXPECT_THAT(refusal(legacy(dict("N"), kKeys, legacy_storage(5, kSix))),
              HasSubstr("storage 7: has 5 elements; its pickle says 6"));
  EXPECT_THAT(refusal(legacy(dict("N"), kKeys, legacy_storage(6, "short"))),
              HasSubstr("ends inside storage 7"));
  EXPECT_THAT(refusal(legacy(dict("N"), kKeys, "")), HasSubstr("ends inside storage 7"));
  EXPECT_THAT(refusal(legacy(dict("N"), "]", "")), HasSubstr("has no storage 7"));
  EXPECT_THAT(refusal(legacy(dict("N"), "](" + pkl::text("8") + "e", "")),
              HasSubstr("storage 8: is of unknown type"));
  const std::string view = pkl::tuple({pkl::text("v"), pkl::integer(4), pkl::integer(3)});
  EXPECT_THAT(refusal(legacy(dict(view), kKeys, legacy_storage(6, kSix))),
              HasSubstr("a view reaches past"));
  const std::string small = pkl::tuple({pkl::text("v"), pkl::integer(4), pkl::integer(2)});
  EXPECT_THAT(refusal(legacy(dict(small, 3), kKeys, legacy_storage(6, kSix))),
              HasSubstr("reaches past the 2 values"));
}

// Files of torch's own.

class TorchGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(TorchGolden, GivesWhatTorchReads) {
  const auto folder = std::filesystem::path(SHOEHORN_TEST_DATA) / "torch";
  const Checkpoint torch = open_checkpoint(folder / (std::string(GetParam()) + ".bin"));
  const Checkpoint expected = open_checkpoint(folder / (std::string(GetParam()) + ".safetensors"));
  EXPECT_EQ(torch.format(), "pytorch");
  ASSERT_EQ(torch.tensors().size(), expected.tensors().size());
  for (const TensorInfo& info : expected.tensors()) {
    const TensorInfo& found = torch.at(info.name);
    EXPECT_EQ(found.dtype, info.dtype) << info.name;
    ASSERT_EQ(found.shape, info.shape) << info.name;
    std::vector<std::byte> bytes(found.bytes);
    std::vector<std::byte> truth(info.bytes);
    torch.read(found, bytes);
    expected.read(info, truth);
    EXPECT_EQ(bytes, truth) << info.name;
  }
}
INSTANTIATE_TEST_SUITE_P(Files, TorchGolden,
                         ::testing::Values("zip", "zip-protocol4", "legacy", "parameters"));

}  // namespace
}  // namespace shoehorn
