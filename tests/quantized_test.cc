// Models that bitsandbytes quantized, and models that shoehorn quantizes while loading: logits and
// footprints recorded from transformers and bitsandbytes, on every device.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "quantized_golden.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<float> logits_of(const std::string& name, const LoadOptions& options) {
  return from_pretrained(model_path(name), options).logits(Golden(name).request());
}

LoadOptions as_f32(const std::string& compute = "float32") {
  return {.dtype = "float32",
          .quantization_config = BitsAndBytesConfig{.bnb_4bit_compute_dtype = compute}};
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// One flipped int8 code moves the logits by about 1e-3; float32 noise by less than 1e-6. The
// recording used bitsandbytes' CPU constant in place of 1 / 127^2.
TEST(QuantizedCheckpoint, Int8LogitsAreBitsandbytes) {
  LoadOptions options = as_f32();
  options.bnb_parity = "cpu";
  EXPECT_LT(relative_error(logits_of("bnb-tiny-int8", options),
                           Golden("bnb-tiny-int8").logits("logits_f32")),
            2e-3);
}

TEST(QuantizedCheckpoint, Nf4LogitsAreBitsandbytes) {
  EXPECT_LT(relative_error(logits_of("bnb-tiny-nf4-dq", as_f32()),
                           Golden("bnb-tiny-nf4-dq").logits("logits_f32")),
            1e-4);
}

TEST(QuantizedCheckpoint, Fp4LogitsAreBitsandbytes) {
  EXPECT_LT(relative_error(logits_of("bnb-tiny-fp4", as_f32()),
                           Golden("bnb-tiny-fp4").logits("logits_f32")),
            1e-4);
}

TEST(QuantizedCheckpoint, ComputesInItsOwnTypeWhenNothingIsAsked) {
  for (const char* name : {"bnb-tiny-int8", "bnb-tiny-nf4-dq", "bnb-tiny-fp4"}) {
    EXPECT_LT(relative_error(logits_of(name, {}), Golden(name).logits("logits_f32")), 0.05) << name;
  }
}

TEST(QuantizedCheckpoint, Int8ActivationsStayClose) {
  for (const char* name : {"bnb-tiny-nf4-dq", "bnb-tiny-fp4"}) {
    const double error =
        relative_error(logits_of(name, as_f32("int8")), Golden(name).logits("logits_f32"));
    EXPECT_LT(error, 0.08) << name;
    EXPECT_GT(error, 1e-4) << name << ": activations were not quantized";
  }
}

TEST(QuantizedCheckpoint, FootprintIsTransformers) {
  for (const char* name : {"bnb-tiny-int8", "bnb-tiny-nf4-dq", "bnb-tiny-fp4"}) {
    EXPECT_EQ(static_cast<std::int64_t>(from_pretrained(model_path(name)).get_memory_footprint()),
              Golden(name).footprint())
        << name;
  }
}

/// How each child of llama-tiny was made.
struct Child {
  const char* name;
  const char* dtype;
  BitsAndBytesConfig config;
};

const std::vector<Child>& children() {
  static const std::vector<Child> all = {
      {"bnb-tiny-int8", "float16", {.load_in_8bit = true}},
      {"bnb-tiny-nf4-dq",
       "bfloat16",
       {.load_in_4bit = true,
        .bnb_4bit_quant_type = "nf4",
        .bnb_4bit_use_double_quant = true,
        .bnb_4bit_compute_dtype = "bfloat16"}},
      {"bnb-tiny-fp4", "float32", {.load_in_4bit = true, .bnb_4bit_compute_dtype = "float32"}},
  };
  return all;
}

TEST(QuantizeOnLoad, GivesTheChildThatBitsandbytesSaved) {
  for (const Child& child : children()) {
    const Model parent = from_pretrained(
        model_path("llama-tiny"),
        {.dtype = child.dtype, .quantization_config = child.config, .bnb_parity = "cpu"});
    const auto request = Golden(child.name).request();
    const Model saved = from_pretrained(model_path(child.name), {.bnb_parity = "cpu"});
    // Norms stay as exact as the file has them, those of a child have been rounded to its type.
    const bool rounded = std::string(child.dtype) != "float32";
    EXPECT_LE(relative_error(parent.logits(request), saved.logits(request)), rounded ? 0.03 : 0)
        << child.name;
    EXPECT_EQ(parent.get_memory_footprint(), saved.get_memory_footprint()) << child.name;
  }
}

/// A folder that is gone afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string text = (fs::temp_directory_path() / "shoehorn-quantized-XXXXXX").string();
    path_ = mkdtemp(text.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(QuantizeOnLoad, EveryDeviceMapGivesTheSameBits) {
  setenv("SHOEHORN_VIRTUAL_DEVICES", "2x64MiB", 1);
  const TemporaryFolder cache;
  const std::vector<std::string> modules = {"model.embed_tokens",
                                            "model.layers.0.self_attn",
                                            "model.layers.0.mlp",
                                            "model.layers.1.mlp",
                                            "model.layers.1.self_attn.q_proj",
                                            "model.norm",
                                            "lm_head"};
  std::mt19937 random(3);
  for (const Child& child : children()) {
    LoadOptions options{
        .dtype = child.dtype, .quantization_config = child.config, .offload_folder = cache.path()};
    const auto request = Golden(child.name).request();
    const auto want = from_pretrained(model_path("llama-tiny"), options).logits(request);
    for (int round = 0; round < 10; ++round) {
      nlohmann::json map = {{"", "cpu"}};
      for (const std::string& module : modules) {
        const unsigned choice = random() % 4;
        if (choice == 0) map[module] = "cpu";
        if (choice == 1) map[module] = "disk";
        if (choice >= 2) map[module] = choice - 2;
      }
      options.device_map = map.dump();
      const Model model = from_pretrained(model_path("llama-tiny"), options);
      EXPECT_EQ(model.logits(request), want) << child.name << " " << map;
      EXPECT_EQ(model.logits(request), want) << child.name << " again " << map;
    }
  }
  unsetenv("SHOEHORN_VIRTUAL_DEVICES");
}

TEST(QuantizedCheckpoint, EveryPlaceGivesTheSameBits) {
  setenv("SHOEHORN_VIRTUAL_DEVICES", "1x64MiB", 1);
  for (const Child& child : children()) {
    const auto want = logits_of(child.name, {});
    for (const char* map : {"disk", "virtual:0"}) {
      EXPECT_EQ(logits_of(child.name, {.device_map = map}), want) << child.name << " " << map;
    }
  }
  unsetenv("SHOEHORN_VIRTUAL_DEVICES");
}

TEST(WeightCache, IsWrittenOnceAndUsedAgain) {
  const TemporaryFolder cache;
  const LoadOptions options{.device_map = "disk",
                            .quantization_config = children()[1].config,
                            .offload_folder = cache.path()};
  const auto request = Golden("bnb-tiny-nf4-dq").request();
  const auto first = from_pretrained(model_path("llama-tiny"), options).logits(request);
  std::vector<std::pair<fs::path, fs::file_time_type>> before;
  for (const auto& entry : fs::directory_iterator(cache.path())) {
    before.emplace_back(entry.path(), entry.last_write_time());
  }
  EXPECT_EQ(before.size(), 14U);  // seven linear modules in each of two layers
  EXPECT_EQ(from_pretrained(model_path("llama-tiny"), options).logits(request), first);
  for (const auto& [path, time] : before) EXPECT_EQ(fs::last_write_time(path), time) << path;
}

TEST(WeightCache, AFileThatWasCutShortIsWrittenAgain) {
  const TemporaryFolder cache;
  const LoadOptions options{.device_map = "disk",
                            .quantization_config = children()[0].config,
                            .offload_folder = cache.path()};
  const auto request = Golden("bnb-tiny-int8").request();
  const auto first = from_pretrained(model_path("llama-tiny"), options).logits(request);
  for (const auto& entry : fs::directory_iterator(cache.path())) {
    fs::resize_file(entry.path(), entry.file_size() / 2);
  }
  EXPECT_EQ(from_pretrained(model_path("llama-tiny"), options).logits(request), first);
}

TEST(WeightCache, AnotherWidthDoesNotMeetTheFirstOnesFiles) {
  const TemporaryFolder cache;
  for (const Child& child : children()) {
    const auto request = Golden(child.name).request();
    LoadOptions options{.dtype = child.dtype, .quantization_config = child.config};
    const auto want = from_pretrained(model_path("llama-tiny"), options).logits(request);
    options.device_map = "disk";
    options.offload_folder = cache.path();
    EXPECT_EQ(from_pretrained(model_path("llama-tiny"), options).logits(request), want);
  }
}

// Writing.

std::string file_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

QuantizeOptions writing(const Child& child) {
  QuantizeOptions options;
  options.load.dtype = child.dtype;
  options.load.quantization_config = child.config;
  return options;
}

TEST(Quantize, WritesTheFilesThatBitsandbytesSaved) {
  for (const Child& child : children()) {
    const TemporaryFolder at;
    const fs::path out = at.path() / "out";
    const QuantizeReport report = quantize(model_path("llama-tiny"), out, writing(child));
    EXPECT_EQ(report.quantized, 14U);
    EXPECT_EQ(report.kept, 7U);
    for (const char* file : {"model.safetensors", "config.json", "generation_config.json"}) {
      EXPECT_EQ(file_text(out / file), file_text(folder(child.name) / file))
          << child.name << " " << file;
    }
  }
}

TEST(Quantize, ShardsHoldTheSameTensors) {
  for (const Child& child : children()) {
    const TemporaryFolder at;
    const fs::path out = at.path() / "out";
    QuantizeOptions options = writing(child);
    options.max_shard_size = "70KB";
    quantize(model_path("llama-tiny"), out, options);
    EXPECT_TRUE(fs::exists(out / "model.safetensors.index.json"));
    const Checkpoint sharded = open_checkpoint(out);
    const Checkpoint whole = open_checkpoint(folder(child.name));
    ASSERT_EQ(sharded.tensors().size(), whole.tensors().size());
    EXPECT_GT(sharded.files().size(), 1U);
    for (const File& file : sharded.files()) EXPECT_LT(file.size(), 78000U);
    for (const TensorInfo& info : whole.tensors()) {
      EXPECT_TRUE(sharded.at(info.name).dtype == info.dtype &&
                  sharded.at(info.name).shape == info.shape)
          << info.name;
      std::vector<std::byte> left(info.bytes);
      std::vector<std::byte> right(info.bytes);
      whole.read(info, left);
      sharded.read(sharded.at(info.name), right);
      EXPECT_EQ(left, right) << info.name;
    }
    const auto request = Golden(child.name).request();
    EXPECT_EQ(from_pretrained(out.string()).logits(request),
              from_pretrained(model_path(child.name)).logits(request));
  }
}

TEST(Quantize, PackedBytesMayBeCalledAnotherType) {
  const TemporaryFolder at;
  const Child& child = children()[1];
  QuantizeOptions options = writing(child);
  options.load.quantization_config->bnb_4bit_quant_storage = "bfloat16";
  quantize(model_path("llama-tiny"), at.path() / "out", options);
  const Checkpoint stored = open_checkpoint(at.path() / "out");
  const TensorInfo& info = stored.at("model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(info.dtype, DType::kBF16);
  EXPECT_EQ(info.shape, (Shape{64 * 192 / 4, 1}));
  const auto request = Golden(child.name).request();
  EXPECT_EQ(from_pretrained((at.path() / "out").string()).logits(request),
            from_pretrained(model_path(child.name)).logits(request));
}

TEST(Quantize, DequantizingGivesWhatWasComputedWith) {
  for (const Child& child : children()) {
    const TemporaryFolder at;
    QuantizeOptions options;
    options.dequantize = true;
    options.load.dtype = "float32";
    quantize(model_path(child.name), at.path() / "out", options);
    const std::string config = file_text(at.path() / "out" / "config.json");
    EXPECT_EQ(config.find("quantization_config"), std::string::npos);
    const auto plain =
        from_pretrained((at.path() / "out").string()).logits(Golden(child.name).request());
    const bool int8 = child.config.load_in_8bit;
    const auto want = Golden(child.name).logits(int8 ? "logits_f32_weight_only" : "logits_f32");
    EXPECT_LT(relative_error(plain, want), 1e-4) << child.name;
  }
}

TEST(Quantize, LeavesNothingWhereItFails) {
  const TemporaryFolder at;
  fs::copy(folder("llama-tiny"), at.path() / "in");
  fs::resize_file(at.path() / "in" / "model.safetensors", 300000);
  EXPECT_NE(message_of([&] {
              quantize((at.path() / "in").string(), at.path() / "out", writing(children()[0]));
            }),
            "");
  EXPECT_EQ(std::distance(fs::directory_iterator(at.path()), fs::directory_iterator()), 1);
}

TEST(Quantize, RefusesAFolderThatIsThere) {
  const TemporaryFolder at;
  std::ofstream(at.path() / "something") << 1;
  EXPECT_THAT(
      message_of([&] { quantize(model_path("llama-tiny"), at.path(), writing(children()[0])); }),
      HasSubstr("exists already"));
}

TEST(Quantize, RefusesWhatIsQuantizedAlready) {
  const TemporaryFolder at;
  EXPECT_THAT(message_of([&] {
                quantize(model_path("bnb-tiny-fp4"), at.path() / "out", writing(children()[0]));
              }),
              HasSubstr("--dequantize"));
}

TEST(Quantize, SaysWhatALimitWouldHaveToHold) {
  QuantizeOptions options = writing(children()[0]);
  options.load.max_memory = {{"cpu", "1MiB"}};
  const TemporaryFolder at;
  EXPECT_THAT(message_of([&] { quantize(model_path("llama-tiny"), at.path() / "out", options); }),
              HasSubstr("bytes are needed"));
}

TEST(Quantize, SaysWhyNothingIsLeftToQuantize) {
  QuantizeOptions options = writing(children()[0]);
  options.load.quantization_config->llm_int8_has_fp16_weight = true;
  const TemporaryFolder at;
  EXPECT_THAT(message_of([&] { quantize(model_path("llama-tiny"), at.path() / "out", options); }),
              HasSubstr("llm_int8_has_fp16_weight keeps"));
}

TEST(QuantizeOnLoad, SaysWhereOptionsHaveNoEffect) {
  std::string notes;
  LoadOptions options{.quantization_config = BitsAndBytesConfig{.bnb_4bit_quant_type = "nf4"}};
  options.on_note = [&](const std::string& note) { notes += note; };
  from_pretrained(model_path("llama-tiny"), options);
  EXPECT_THAT(notes, HasSubstr("--load-in-4bit"));
}

TEST(Quantize, AListOfSkipsIsWrittenWithTheDefaults) {
  const TemporaryFolder at;
  QuantizeOptions options = writing(children()[0]);
  options.load.quantization_config->llm_int8_skip_modules = {"q_proj"};
  quantize(model_path("llama-tiny"), at.path() / "out", options);
  const auto config = nlohmann::json::parse(file_text(at.path() / "out" / "config.json"));
  EXPECT_EQ(config["quantization_config"]["llm_int8_skip_modules"],
            (nlohmann::json{"q_proj", "lm_head"}));
}

// Which modules stay.

nlohmann::json quantization_of(const BitsAndBytesConfig& config, const std::string& name) {
  const InspectReport report = inspect(model_path(name), {.quantization_config = config});
  return nlohmann::json::parse(report.json)["quantization"];
}

TEST(SkippedModules, TheHeadStaysByDefault) {
  const auto kept = quantization_of({.load_in_8bit = true}, "llama-tiny")["kept"];
  EXPECT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept["lm_head"], "the output head");
}

TEST(SkippedModules, AListAddsToTheDefaults) {
  const auto report = quantization_of(
      {.load_in_8bit = true, .llm_int8_skip_modules = {"q_proj", "model.layers.1.mlp"}},
      "llama-tiny");
  EXPECT_EQ(report["kept"].size(), 1U + 2U + 3U);
  EXPECT_EQ(report["quantized"].size(), 14U - 5U);
}

TEST(SkippedModules, APatternEndsAtADot) {
  // ".layers.1" is no skip of layer 1's neighbours by prefix, "." is any character.
  const auto report = quantization_of(
      {.load_in_8bit = true, .llm_int8_skip_modules = {"model.layers.1", "model.layers"}},
      "llama-tiny");
  EXPECT_EQ(report["kept"].size(), 1U + 14U);
  const auto none = quantization_of(
      {.load_in_8bit = true, .llm_int8_skip_modules = {"model.layer", "model.layers.1.m"}},
      "llama-tiny");
  EXPECT_EQ(none["kept"].size(), 1U);
}

TEST(SkippedModules, AListMayReplaceTheDefaults) {
  const auto report = quantization_of({.load_in_4bit = true,
                                       .llm_int8_skip_modules = {"k_proj"},
                                       .llm_int8_skip_modules_replace = true},
                                      "llama-tiny");
  EXPECT_EQ(report["kept"].size(), 2U);
  EXPECT_TRUE(report["quantized"].contains("lm_head.weight"));
}

// Bad input.

/// A copy of a model whose safetensors header and config.json can be spoilt.
class SpoiltModel {
 public:
  explicit SpoiltModel(const std::string& name) {
    fs::copy(folder(name), folder_.path(), fs::copy_options::recursive);
  }
  std::string path() const { return folder_.path().string(); }

  /// Replaces text in a file by text of the same length.
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::ifstream in(folder_.path() / file, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    in.close();
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::ofstream(folder_.path() / file, std::ios::binary) << text;
  }
  /// Overwrites the first bytes of a tensor.
  void overwrite(const std::string& tensor, const std::vector<std::uint8_t>& bytes) {
    const Checkpoint checkpoint = open_checkpoint(folder_.path());
    const TensorInfo& info = checkpoint.at(tensor);
    std::fstream file(checkpoint.files()[info.file].path(),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(info.offset));
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string message() const {
    return message_of([this] { from_pretrained(path()); });
  }

 private:
  TemporaryFolder folder_;
};

constexpr char kDown[] = "model.layers.0.mlp.down_proj.weight";

TEST(SpoiltCheckpoint, NamesAMissingAbsmax) {
  SpoiltModel model("bnb-tiny-fp4");
  model.replace("model.safetensors", std::string(kDown) + ".absmax",
                std::string(kDown) + ".absmux");
  EXPECT_THAT(model.message(), HasSubstr(std::string(kDown) + ".absmax is missing"));
}

TEST(SpoiltCheckpoint, NamesAMissingQuantState) {
  SpoiltModel model("bnb-tiny-fp4");
  model.replace("model.safetensors", std::string(kDown) + ".quant_state.bits",
                std::string(kDown) + ".quant_stete.bits");
  EXPECT_THAT(model.message(), HasSubstr(kDown));
  EXPECT_THAT(model.message(), HasSubstr("quant_state"));
}

TEST(SpoiltCheckpoint, NamesAnUnknownQuantType) {
  SpoiltModel model("bnb-tiny-fp4");
  model.replace("model.safetensors", R"({"quant_type": "fp4")", R"({"quant_type": "af4")");
  EXPECT_THAT(model.message(), HasSubstr("af4"));
  EXPECT_THAT(model.message(), HasSubstr("nf4"));
}

TEST(SpoiltCheckpoint, RefusesABlocksizeThatDoesNotFit) {
  SpoiltModel model("bnb-tiny-fp4");
  model.replace("model.safetensors", R"("blocksize": 64)", R"("blocksize": 32)");
  EXPECT_THAT(model.message(), HasSubstr(".absmax is F32"));
}

TEST(SpoiltCheckpoint, RefusesAnImpossibleBlocksize) {
  SpoiltModel model("bnb-tiny-fp4");
  model.replace("model.safetensors", R"("blocksize": 64)", R"("blocksize": 65)");
  EXPECT_THAT(model.message(), HasSubstr("blocksize"));
}

TEST(SpoiltCheckpoint, NamesAnAbsmaxThatIsNotFinite) {
  SpoiltModel model("bnb-tiny-fp4");
  model.overwrite(std::string(kDown) + ".absmax", {0, 0, 0xC0, 0x7F});
  EXPECT_THAT(model.message(),
              HasSubstr(std::string(kDown) + ".absmax has values that are not finite"));
}

TEST(SpoiltCheckpoint, NamesAMissingScb) {
  SpoiltModel model("bnb-tiny-int8");
  model.replace("model.safetensors", "model.layers.0.mlp.down_proj.SCB",
                "model.layers.0.mlp.down_proj.SCX");
  EXPECT_THAT(model.message(), HasSubstr("model.layers.0.mlp.down_proj.SCB is missing"));
}

TEST(SpoiltCheckpoint, RefusesTheTilesOfOldVersions) {
  SpoiltModel model("bnb-tiny-int8");
  model.overwrite("model.layers.0.mlp.down_proj.weight_format", {2});
  EXPECT_THAT(model.message(), HasSubstr("weight_format"));
}

TEST(SpoiltCheckpoint, ListsWhatItReadsWhereTheMethodIsAnother) {
  SpoiltModel model("bnb-tiny-int8");
  model.replace("config.json", R"("quant_method": "bitsandbytes")",
                R"("quant_method": "gptq"        )");
  EXPECT_THAT(model.message(), HasSubstr("gptq"));
  EXPECT_THAT(model.message(), HasSubstr("bitsandbytes"));
}

TEST(SpoiltCheckpoint, NamesAWeightThatIsNotFiniteBeforeItIsQuantized) {
  SpoiltModel model("llama-tiny");
  model.overwrite(kDown, {0, 0, 0xC0, 0x7F});
  for (const bool int8 : {true, false}) {
    const std::string message = message_of([&] {
      from_pretrained(model.path(), {.quantization_config = BitsAndBytesConfig{
                                         .load_in_8bit = int8, .load_in_4bit = !int8}});
    });
    EXPECT_THAT(message, HasSubstr(kDown));
  }
}

}  // namespace
}  // namespace shoehorn
