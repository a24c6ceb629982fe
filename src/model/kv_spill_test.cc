#include "model/kv_spill.h"

#include <cstdint>
#include <numeric>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::all_logits;
using ::testing::ElementsAre;
using testing::load_test_model;
using testing::TestModelOptions;

std::vector<std::int32_t> some_ids(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>((i * 29 + 5) % 90);
  return ids;
}

std::unique_ptr<LoadedModel> load(std::size_t spilled, TestModelOptions options = {}) {
  const auto folder = testing::model_folder("llama");
  const std::size_t layers = load_test_model(folder, {})->architecture().shape().layers.size();
  options.spilled_layers =
      spread_spilled_layers(layers, spilled == 0 ? 0 : std::min(spilled, layers));
  return load_test_model(folder, options);
}

TEST(SpreadSpilledLayers, IsEven) {
  EXPECT_THAT(spread_spilled_layers(4, 0), ElementsAre(false, false, false, false));
  EXPECT_THAT(spread_spilled_layers(4, 2), ElementsAre(false, true, false, true));
  EXPECT_THAT(spread_spilled_layers(3, 3), ElementsAre(true, true, true));
}

TEST(KvSpill, GivesTheBitsOfACacheInMemory) {
  const auto ids = some_ids(30);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (const std::size_t step : {1, 7, 30}) {
      const auto want = all_logits(*load(0, {.kv_dtype = dtype, .max_rows = 8}), ids, step);
      for (const std::size_t spilled : {1, 100}) {
        const auto model = load(spilled, {.kv_dtype = dtype, .max_rows = 8, .flight_rows = 20});
        EXPECT_EQ(all_logits(*model, ids, step), want) << spilled << " " << step;
      }
    }
  }
}

TEST(KvSpill, KeepsSequencesApart) {
  const auto together = [](const LoadedModel& model) {
    const auto vocab = static_cast<std::size_t>(model.architecture().shape().vocab_size);
    const auto a = some_ids(12);
    auto b = some_ids(9);
    for (std::int32_t& id : b) id = (id * 3 + 1) % 90;
    const auto kv_a = model.new_kv_cache(20);
    const auto kv_b = model.new_kv_cache(14);
    std::vector<std::int32_t> positions(20);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<float> all;
    // Uneven steps, a step back, and a longer way on from there.
    for (const auto& [from, to, b_to] :
         std::vector<std::tuple<std::size_t, std::size_t, std::size_t>>{
             {0, 5, 3}, {5, 8, 4}, {6, 12, 9}}) {
      kv_a->truncate(static_cast<std::int64_t>(from));
      const auto b_from = static_cast<std::size_t>(kv_b->length());
      const std::vector<BatchSequence> batch = {
          {.ids = std::span(a).subspan(from, to - from),
           .positions = std::span(positions).subspan(from, to - from),
           .kv = kv_a.get(),
           .call_length = static_cast<std::int64_t>(to)},
          {.ids = std::span(b).subspan(b_from, b_to - b_from),
           .positions = std::span(positions).subspan(b_from, b_to - b_from),
           .kv = kv_b.get(),
           .call_length = static_cast<std::int64_t>(b_to)}};
      std::vector<float> logits(2 * vocab);
      model.run(batch, logits);
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  };
  const auto want = together(*load(0));
  EXPECT_EQ(together(*load(1)), want);
  EXPECT_EQ(together(*load(100)), want);
}

// Written where caches are in memory, on disk, or both, and read there.
TEST(KvSpill, FilesOfCachesAreTheSame) {
  const testing::TempFolder folder;
  const auto ids = some_ids(11);
  const auto next = some_ids(12).back();
  std::vector<std::int32_t> positions(12);
  std::iota(positions.begin(), positions.end(), 0);
  const auto run = [&](const LoadedModel& model, KvCache& kv, std::span<const std::int32_t> some) {
    const auto from = static_cast<std::size_t>(kv.length());
    const BatchSequence sequence{
        .ids = some,
        .positions = std::span(positions).subspan(from, some.size()),
        .kv = &kv,
        .call_length = kv.length() + static_cast<std::int64_t>(some.size())};
    std::vector<float> logits(static_cast<std::size_t>(model.architecture().shape().vocab_size));
    model.run({&sequence, 1}, logits);
    return logits;
  };
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    std::vector<float> want;
    for (const std::size_t from : {0, 1, 100}) {
      const auto model = load(from, {.kv_dtype = dtype});
      const auto kv = model->new_kv_cache(20);
      run(*model, *kv, ids);
      model->write_kv(folder.path() / "file", "a key", ids, *kv);
      const auto logits = run(*model, *kv, {&next, 1});
      if (want.empty()) want = logits;
      for (const std::size_t to : {0, 1, 100}) {
        const auto other = load(to, {.kv_dtype = dtype});
        const auto read = other->new_kv_cache(30);
        EXPECT_EQ(other->read_kv(folder.path() / "file", "a key", *read), ids);
        EXPECT_EQ(run(*other, *read, {&next, 1}), want) << from << " " << to;
      }
    }
  }
}

TEST(KvSpill, TakesNoMemoryButTheWindow) {
  const auto model = load(100);
  EXPECT_EQ(model->kv_cache_bytes(1000), 0U);
  EXPECT_GT(load(0)->kv_cache_bytes(1000), 0U);
}

TEST(KvSpill, RefusesMoreThanTheWindowHolds) {
  EXPECT_THROW(load(100)->new_kv_cache(5000), PlanError);
}

TEST(KvFile, SaysThatTheDriveIsFull) {
  DeviceMemory memory({});
  KvWindow window(64, memory);
  EXPECT_THROW(KvFile(std::filesystem::temp_directory_path(), {std::size_t{1} << 60}, window),
               FileError);
}

}  // namespace
}  // namespace shoehorn
