#include "hub/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<std::string> selected(const std::vector<std::string>& files,
                                  const std::vector<std::string>& include = {}) {
  return select_files("o/n", files, include).files;
}

TEST(SelectFiles, TakesSafetensorsBeforePickles) {
  EXPECT_THAT(selected({"README.md", "config.json", "model.safetensors", "onnx/model.onnx",
                        "pytorch_model.bin", "tokenizer.json"}),
              ElementsAre("config.json", "model.safetensors", "tokenizer.json"));
  EXPECT_THAT(selected({"config.json", "pytorch_model.bin", "flax_model.msgpack"}),
              ElementsAre("config.json", "pytorch_model.bin"));
}

TEST(SelectFiles, NamesTheIndexOfShards) {
  const Selection selection =
      select_files("o/n",
                   {"consolidated.safetensors", "model-00001-of-00002.safetensors",
                    "model-00002-of-00002.safetensors", "model.safetensors.index.json"},
                   {});
  EXPECT_EQ(selection.index, "model.safetensors.index.json");
  EXPECT_THAT(selection.files, ElementsAre("model.safetensors.index.json"));
}

TEST(SelectFiles, TakesAllPartsOfOneGguf) {
  EXPECT_THAT(selected({"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}),
              ElementsAre("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"));
}

TEST(SelectFiles, AsksWhereSeveralGgufsAreThere) {
  const std::vector<std::string> files = {"m.Q4_K_M.gguf", "m.Q8_0.gguf"};
  EXPECT_THAT([&] { selected(files); }, ThrowsMessage<UnsupportedError>(HasSubstr("--include")));
  EXPECT_THAT(selected(files, {"*Q8_0*"}), ElementsAre("m.Q8_0.gguf"));
  EXPECT_THROW(selected(files, {"*Q2*"}), UnsupportedError);
}

TEST(SelectFiles, TakesTemplatesBesideTheConfig) {
  EXPECT_THAT(selected({"additional_chat_templates/tool_use.jinja", "chat_template.jinja",
                        "model.safetensors"}),
              ElementsAre("additional_chat_templates/tool_use.jinja", "chat_template.jinja",
                          "model.safetensors"));
}

TEST(SelectFiles, SaysWhereThereAreNoWeights) {
  EXPECT_THAT(
      [] {
        selected({"config.json", "model.onnx"});
      },
      ThrowsMessage<UnsupportedError>(HasSubstr("no weights")));
}

}  // namespace
}  // namespace shoehorn::hub
