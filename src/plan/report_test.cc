#include "plan/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "plan/human_size.h"
#include "plan/llama_for_tests.h"
#include "plan/planner_shoehorn.h"
#include "plan/svg.h"
#include "plan/svg_canvas.h"
#include "plan/text_table.h"

namespace shoehorn {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(NumberRanges, JoinsNeighbours) {
  EXPECT_EQ(number_ranges({0, 1, 2, 5, 7, 8}), "0-2, 5, 7-8");
  EXPECT_EQ(number_ranges({}), "");
}

TEST(HumanSize, KeepsThreeDigits) {
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1536), "1.50 KiB");
  EXPECT_EQ(human_size(std::size_t{10} << 30), "10.0 GiB");
  EXPECT_EQ(human_size((std::size_t{1} << 30) - 1), "1.00 GiB");
}

// Printed by accelerate 1.15.0's convert_bytes.
TEST(AccelerateSize, AgreesWithAccelerate) {
  EXPECT_EQ(accelerate_size({0, false}), "0 bytes");
  EXPECT_EQ(accelerate_size({1023, false}), "1023 bytes");
  EXPECT_EQ(accelerate_size({512, true}), "512.0 bytes");
  EXPECT_EQ(accelerate_size({1024, false}), "1.0 KB");
  EXPECT_EQ(accelerate_size({1536, false}), "1.5 KB");
  EXPECT_EQ(accelerate_size({1e9, false}), "953.67 MB");
  EXPECT_EQ(accelerate_size({1048575, false}), "1024.0 KB");
  EXPECT_EQ(accelerate_size({0x1p50, false}), "1.0 PB");
}

TEST(ReportLines, CompressesLayersThatAreAlike) {
  Llama llama(8);
  const DeviceMap map({{"", DeviceKey::cpu()},
                       {"model.layers.2", DeviceKey::disk()},
                       {"model.layers.5", DeviceKey::disk()}});
  const auto lines = report_lines(llama.input, evaluate_map(llama.input, map));
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0].what, "model.embed_tokens");
  EXPECT_EQ(lines[1].what, "model.layers.0-1, 3-4, 6-7 (6 layers)");
  EXPECT_EQ(lines[1].where, "cpu");
  EXPECT_EQ(lines[2].what, "model.layers.2, 5 (2 layers)");
  EXPECT_EQ(lines[2].where, "disk");
  EXPECT_EQ(lines[5].what, "lm_head");
}

TEST(ReportLines, NamesPartsThatLiveElsewhere) {
  Llama llama(2);
  const DeviceMap map(
      {{"", DeviceKey::cpu()}, {"model.layers.1.mlp.down_proj", DeviceKey::disk()}});
  const auto lines = report_lines(llama.input, evaluate_map(llama.input, map));
  EXPECT_EQ(lines[2].where, "cpu; mlp.down_proj on disk");
}

TEST(ReportLines, SaysHowManyWhereAListWouldBeLong) {
  Llama llama(80);
  std::vector<DeviceMap::Entry> entries = {{"", DeviceKey::cpu()}};
  for (int i = 1; i < 80; i += 2) {
    entries.emplace_back("model.layers." + std::to_string(i), DeviceKey::disk());
  }
  const auto lines =
      report_lines(llama.input, evaluate_map(llama.input, DeviceMap(std::move(entries))));
  EXPECT_EQ(lines[1].what, "model.layers.0-78, 40 of these");
  EXPECT_EQ(lines[2].what, "model.layers.1-79, 40 of these");
}

TEST(PlanText, UsesNothingButAsciiWhereAsked) {
  Llama llama(8);
  llama.limit_cpu(llama.total_bytes / 2);
  const std::string text =
      plan_text(llama.input, plan_shoehorn(llama.input), {.unicode = false, .width = 80});
  for (const char c : text) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  EXPECT_THAT(text, HasSubstr("KV cache"));
  EXPECT_THAT(text, HasSubstr("predicted: "));
}

TEST(PlanText, DrawsABarForEveryDevice) {
  Llama llama(8);
  llama.add_accelerator(0, std::size_t{1} << 30);
  const std::string text = plan_text(llama.input, plan_shoehorn(llama.input), {});
  EXPECT_THAT(text, HasSubstr("device 0   "));
  EXPECT_THAT(text, HasSubstr("% of 1.00 GiB"));
}

TEST(PlanJson, HasTheFieldsScriptsReadAndTheyAddUp) {
  Llama llama(8);
  llama.add_accelerator(0, llama.total_bytes / 2);
  llama.limit_cpu(20 * kMiB);
  const Plan plan = plan_shoehorn(llama.input);
  const auto json = nlohmann::json::parse(plan_json(plan));
  std::size_t sum = 0;
  for (const auto& [device, bytes] : json["bytes"].items()) sum += bytes.get<std::size_t>();
  EXPECT_EQ(sum, json["footprint_bytes"].get<std::size_t>());
  EXPECT_EQ(json["kv_cache_bytes"], 800'000U);
  EXPECT_TRUE(json["workspace_bytes"].is_number());
  EXPECT_TRUE(json["staging_bytes"].is_number());
  EXPECT_GT(json["predicted"]["decode_tok_s"].get<double>(), 0);
  EXPECT_GT(json["predicted"]["prefill_tok_s"].get<double>(), 0);
  EXPECT_TRUE(json["predicted"]["bound_by"].is_string());
  EXPECT_FALSE(json["device_map"].empty());
}

TEST(TextTable, AlignsByCodePoints) {
  TextTable table({"a", "b"});
  table.add_row({"é", "1"});
  EXPECT_EQ(table.text(false), "+---+---+\n| a | b |\n+---+---+\n| é | 1 |\n+---+---+\n");
}

TEST(XmlEscaped, LeavesNothingThatXmlReads) {
  EXPECT_EQ(xml_escaped("<a b=\"1\">&\n"), "&lt;a b=&quot;1&quot;&gt;&amp; ");
}

TEST(PlanSvg, DrawsEveryLayerAndEscapesTheTitle) {
  Llama llama(6);
  const std::string svg =
      plan_svg(llama.input, plan_shoehorn(llama.input), "<script>alert(1)</script>");
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  for (int layer = 0; layer < 6; ++layer) {
    EXPECT_THAT(svg, HasSubstr("<title>layer " + std::to_string(layer) + ": "));
  }
  EXPECT_THAT(svg, HasSubstr("<svg xmlns="));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
}

TEST(PlanSvg, TakesAModelWithoutWeights) {
  const ModuleTree tree{.root = {.class_name = "Empty"}};
  const PlanInput input{.tree = &tree};
  EXPECT_THAT(plan_svg(input, plan_shoehorn(input), "empty"), testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace shoehorn
