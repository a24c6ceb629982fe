#include "model/pass_flight.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::all_logits;
using testing::load_test_model;
using testing::TestModelOptions;

constexpr std::int64_t kPassRows = 8;

std::vector<std::int32_t> some_ids(std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>((i * 37 + 11) % 90);
  return ids;
}

Device layers_on_disk(std::string_view path) {
  return path.find("layers.") == std::string_view::npos ? Device{} : Device{DeviceKind::kDisk};
}

std::unique_ptr<LoadedModel> load(std::int64_t flight_rows, const char* name = "llama") {
  TestModelOptions options;
  options.max_rows = kPassRows;
  options.flight_rows = flight_rows;
  options.device_of = layers_on_disk;
  return load_test_model(testing::model_folder(name), options);
}

TEST(PassFlight, GivesTheBitsOfPassesOneByOne) {
  for (const char* const name : {"llama", "llama-rope-dynamic"}) {
    const auto ids = some_ids(45);
    const auto one_by_one = all_logits(*load(kPassRows, name), ids);
    for (const std::int64_t rows : {17, 24, 64}) {
      EXPECT_EQ(all_logits(*load(rows, name), ids), one_by_one) << name << ", " << rows;
    }
  }
}

TEST(PassFlight, ReadsTheStreamOnce) {
  const auto read_by = [](const LoadedModel& model) {
    all_logits(model, some_ids(40));  // 5 passes
    return static_cast<double>(model.weights().stream_stats().bytes_read) /
           static_cast<double>(model.weights().streamed_bytes_per_pass());
  };
  // The ring reads ahead of the next call, at most once round.
  EXPECT_LE(read_by(*load(40)), 2.0);
  EXPECT_LE(read_by(*load(24)), 3.0);
  EXPECT_GE(read_by(*load(kPassRows)), 5.0);
}

TEST(PassFlight, TakesSequencesThatEndWithinIt) {
  const auto all = some_ids(60);
  std::vector<std::int32_t> positions(all.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<std::size_t> lengths = {3, 21, 1, 13};
  const auto run = [&](const LoadedModel& model) {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<BatchSequence> batch;
    std::size_t at = 0;
    for (const std::size_t length : lengths) {
      caches.push_back(model.new_kv_cache(static_cast<std::int64_t>(length)));
      batch.push_back({.ids = std::span(all).subspan(at, length),
                       .positions = std::span(positions).first(length),
                       .kv = caches.back().get(),
                       .call_length = static_cast<std::int64_t>(length)});
      at += length;
    }
    const auto vocab = static_cast<std::size_t>(model.architecture().shape().vocab_size);
    std::vector<float> logits(lengths.size() * vocab);
    model.run(batch, logits);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      EXPECT_EQ(caches[i]->length(), static_cast<std::int64_t>(lengths[i]));
    }
    return logits;
  };
  EXPECT_EQ(run(*load(64)), run(*load(kPassRows)));
}

TEST(PassFlight, LeavesCachesAsTheyWereWhenAPassFails) {
  const auto model = load(64);
  const auto cache = model->new_kv_cache(20);
  const auto ids = some_ids(30);
  std::vector<std::int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const BatchSequence sequence{
      .ids = ids, .positions = positions, .kv = cache.get(), .call_length = 30};
  std::vector<float> logits(static_cast<std::size_t>(model->architecture().shape().vocab_size));
  EXPECT_THROW(model->run({&sequence, 1}, logits), PlanError);
  EXPECT_EQ(cache->length(), 0);
}

}  // namespace
}  // namespace shoehorn
