// Whole checkpoints: the recorded fixtures, and folders that hold several sets of weights.
#include <cstdlib>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_torch.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

fs::path fixture(std::string_view name) {
  return fs::path(SHOEHORN_TEST_DATA) / "models" / name;
}

std::string tiny(std::string_view name) {
  return testing::safetensors_file(
      "{\"" + std::string(name) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
}

TEST(OpenCheckpoint, OpensAFolderWithOneFile) {
  const Checkpoint llama = open_checkpoint(fixture("llama"));
  EXPECT_EQ(llama.format(), "safetensors");
  EXPECT_EQ(llama.tensors().size(), 21U);
  EXPECT_EQ(llama.at("lm_head.weight").shape, (Shape{256, 64}));
  EXPECT_THAT(llama.config_json(), HasSubstr("LlamaForCausalLM"));
  EXPECT_THAT(llama.notes(), IsEmpty());
}

TEST(OpenCheckpoint, OpensAFileWithTheConfigBesideIt) {
  const Checkpoint llama = open_checkpoint(fixture("llama") / "model.safetensors");
  EXPECT_EQ(llama.tensors().size(), 21U);
  EXPECT_THAT(llama.config_json(), HasSubstr("LlamaForCausalLM"));
}

TEST(OpenCheckpoint, OpensShards) {
  const Checkpoint llama = open_checkpoint(fixture("llama-sharded"));
  EXPECT_EQ(llama.files().size(), 4U);
  EXPECT_EQ(llama.files()[llama.at("model.embed_tokens.weight").file].path().filename(),
            "model-00001-of-00004.safetensors");
}

TEST(OpenCheckpoint, ShardsHoldWhatTheIndexSaysInTotal) {
  std::size_t bytes = 0;
  const Checkpoint llama = open_checkpoint(fixture("llama-sharded"));
  for (const TensorInfo& info : llama.tensors()) bytes += info.bytes;
  EXPECT_EQ(bytes, 240768U);  // its total_size
}

TEST(OpenCheckpoint, OpensEveryFixture) {
  for (const char* name :
       {"llama", "llama-bf16", "llama-rope-dynamic", "llama-rope-linear", "llama-rope-llama3",
        "llama-rope-yarn", "llama-sharded", "llama-tied-bias", "qwen2-f64"}) {
    EXPECT_NE(open_checkpoint(fixture(name)).find("model.norm.weight"), nullptr) << name;
  }
}

TEST(OpenCheckpoint, KnowsFloat64AndBfloat16) {
  EXPECT_EQ(open_checkpoint(fixture("qwen2-f64")).at("model.norm.weight").dtype, DType::kF64);
  EXPECT_EQ(open_checkpoint(fixture("llama-bf16")).at("model.norm.weight").dtype, DType::kBF16);
}

TEST(OpenCheckpoint, ReadsAnotherConfigWhenAsked) {
  const auto folder = fixture("llama-rope-yarn");
  const Checkpoint llama = open_checkpoint(folder, {.config = folder / "config.v4.json"});
  EXPECT_THAT(llama.config_json(), HasSubstr("\"rope_scaling\""));
}

TEST(CheckpointRead, GivesTheBytesOfTheTensor) {
  const Checkpoint logits = open_checkpoint(fixture("llama") / "logits.safetensors");
  const TensorInfo& mask = logits.at("attention_mask");
  ASSERT_EQ(mask.shape, (Shape{2, 12}));
  std::vector<std::int64_t> values(24);
  logits.read(mask, std::as_writable_bytes(std::span(values)));
  // 5 pads in the first row, 2 in the second.
  EXPECT_THAT(std::vector(values.begin(), values.begin() + 12),
              ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_THAT(std::vector(values.begin() + 12, values.end()),
              ElementsAre(0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
}

TEST(CheckpointAt, NamesTheTensorThatIsMissing) {
  const Checkpoint llama = open_checkpoint(fixture("llama"));
  EXPECT_EQ(llama.find("no.such.weight"), nullptr);
  EXPECT_THAT(testing::message_of<FormatError>([&] { llama.at("no.such.weight"); }),
              HasSubstr("no.such.weight"));
}

class OpenFolder : public ::testing::Test {
 protected:
  Checkpoint open() const { return open_checkpoint(folder_.path()); }
  std::string refusal() const {
    return testing::message_of<FormatError>([&] { open(); });
  }
  const testing::TempFolder folder_;
};

TEST_F(OpenFolder, GathersTheFilesBesideTheWeights) {
  folder_.write("model.safetensors", tiny("w"));
  folder_.write("config.json", "{\"a\":1}");
  folder_.write("generation_config.json", "{\"b\":1}");
  folder_.write("tokenizer.json", "{\"c\":1}");
  folder_.write("tokenizer_config.json", "{\"d\":1}");
  const Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.path(), folder_.path());
  EXPECT_EQ(checkpoint.config_json(), "{\"a\":1}");
  EXPECT_EQ(checkpoint.generation_config_json(), "{\"b\":1}");
  EXPECT_EQ(checkpoint.tokenizer_json(), "{\"c\":1}");
  EXPECT_EQ(checkpoint.tokenizer_config_json(), "{\"d\":1}");
}

TEST_F(OpenFolder, SaysThatAConfigIsMissing) {
  folder_.write("model.safetensors", tiny("w"));
  EXPECT_THAT(open().notes(), Contains(HasSubstr("--config")));
}

TEST_F(OpenFolder, PrefersSafetensorsAndSaysWhatItLeft) {
  folder_.write("config.json", "{}");
  folder_.write("model.safetensors", tiny("w"));
  folder_.write("pytorch_model.bin", "");
  folder_.write("model.safetensors.index.json", "");
  EXPECT_THAT(open().notes(),
              ElementsAre(AllOf(StartsWith("reading model.safetensors; not used: "),
                                HasSubstr("pytorch_model.bin"), HasSubstr("index.json"))));
}

TEST_F(OpenFolder, PrefersTheUsualIndexAmongSeveral) {
  folder_.write("config.json", "{}");
  folder_.write("1.safetensors", tiny("w"));
  folder_.write("model.safetensors.index.json", R"({"weight_map":{"w":"1.safetensors"}})");
  folder_.write("model.fp16.safetensors.index.json", "");
  EXPECT_NE(open().find("w"), nullptr);
}

TEST_F(OpenFolder, TakesTheOnlyIndexWhateverItsName) {
  folder_.write("1.safetensors", tiny("w"));
  folder_.write("weights.index.json", R"({"w":"1.safetensors"})");
  folder_.write("pytorch_model.bin.index.json", "");
  EXPECT_NE(open().find("w"), nullptr);
}

TEST_F(OpenFolder, RefusesToGuessAmongIndices) {
  folder_.write("a.index.json", "");
  folder_.write("b.index.json", "");
  EXPECT_THAT(refusal(), HasSubstr("several index files: a.index.json, b.index.json"));
}

// One tensor of two bytes.
std::string tiny_torch(const std::string& name) {
  namespace pkl = testing::pkl;
  const std::string storage = pkl::storage("ByteStorage", "0", 2);
  return testing::torch_zip(pkl::dict({{name, pkl::tensor(storage, 0, {2}, {1})}}), {{"0", "ab"}});
}

TEST_F(OpenFolder, OpensPyTorchFiles) {
  folder_.write("config.json", "{}");
  folder_.write("pytorch_model.bin", tiny_torch("w"));
  folder_.write("training_args.bin", "");
  folder_.write("a.gguf", "GGUF");
  EXPECT_EQ(open().format(), "pytorch");
  EXPECT_EQ(open().at("w").bytes, 2U);
  EXPECT_THAT(open().notes(), ElementsAre("reading pytorch_model.bin; not used: a.gguf"));
}

TEST_F(OpenFolder, OpensShardsOfPyTorchFiles) {
  folder_.write("config.json", "{}");
  folder_.write("pytorch_model-00001-of-00002.bin", tiny_torch("a"));
  folder_.write("pytorch_model-00002-of-00002.bin", tiny_torch("b"));
  folder_.write("pytorch_model.bin.index.json",
                R"({"weight_map":{"a":"pytorch_model-00001-of-00002.bin",
                                  "b":"pytorch_model-00002-of-00002.bin"}})");
  const Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.format(), "pytorch");
  EXPECT_EQ(checkpoint.at("b").file, 1U);
}

TEST_F(OpenFolder, NamesThePyTorchFileThatIsHostile) {
  folder_.write("pytorch_model.bin",
                testing::torch_zip(testing::pkl::global("os", "system") + ")R", {}));
  EXPECT_THAT(testing::message_of<UnsupportedError>([&] { open(); }),
              AllOf(HasSubstr("pytorch_model.bin"), HasSubstr("os.system")));
}

TEST_F(OpenFolder, DoesNotTakeOtherSafetensorsForWeights) {
  folder_.write("logits.safetensors", tiny("w"));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("has no weights"), HasSubstr("logits.safetensors")));
}

TEST_F(OpenFolder, RefusesToGuessAmongGgufFiles) {
  folder_.write("a.gguf", "GGUF");
  folder_.write("b-00001-of-00002.gguf", "GGUF");
  folder_.write("b-00002-of-00002.gguf", "GGUF");
  EXPECT_THAT(refusal(), HasSubstr("several GGUF files: a.gguf, b-00001-of-00002.gguf;"));
}

TEST_F(OpenFolder, RefusesAnEmptyFolder) {
  EXPECT_THAT(refusal(), HasSubstr("has no weights"));
}

TEST_F(OpenFolder, RefusesAConfigThatIsAFolder) {
  folder_.write("model.safetensors", tiny("w"));
  folder_.write("config.json/x", "");
  EXPECT_THROW(open(), FileError);
}

TEST_F(OpenFolder, TellsFormatsApartByContentWhereTheNameDoesNot) {
  const auto blob = folder_.write("0123abcd", tiny("w"));
  EXPECT_NE(open_checkpoint(blob).find("w"), nullptr);
  EXPECT_THAT(testing::message_of<FormatError>(
                  [&] { open_checkpoint(folder_.write("notes", "Dear reader, ...")); }),
              HasSubstr("is no checkpoint"));
}

TEST_F(OpenFolder, OpensAModelOfTheHubCache) {
  folder_.write("models--org--name/refs/main", "c0ffee");
  const auto blob = folder_.write("models--org--name/blobs/0123", tiny("w"));
  folder_.write("models--org--name/snapshots/c0ffee/config.json", "{}");
  fs::create_symlink(blob, folder_.path() / "models--org--name/snapshots/c0ffee/model.safetensors");
  ASSERT_EQ(::setenv("HF_HUB_CACHE", folder_.path().c_str(), 1), 0);
  const Checkpoint checkpoint = open_checkpoint("org/name");
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(checkpoint.path(), "org/name");
  EXPECT_EQ(checkpoint.config_json(), "{}");
  EXPECT_NE(checkpoint.find("w"), nullptr);
}

TEST_F(OpenFolder, NamesTheFileThatIsTruncated) {
  const std::string whole = tiny("w");
  folder_.write("model.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors: w: data_offsets end at byte 1"));
}

TEST_F(OpenFolder, KnowsPyTorchFilesByTheirContent) {
  EXPECT_NE(open_checkpoint(folder_.write("consolidated.00.pth", tiny_torch("w"))).find("w"),
            nullptr);
  EXPECT_NE(open_checkpoint(folder_.write("0123abcd", tiny_torch("w"))).find("w"), nullptr);
}

}  // namespace
}  // namespace shoehorn
