#include "base/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

TEST(ThreadPool, EveryPieceRunsOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int loop = 0; loop < 200; ++loop) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(loop));
      pool.parallel_for(loop, [&](std::int64_t piece, int thread) {
        ASSERT_LT(thread, threads);
        ++seen[static_cast<std::size_t>(piece)];
      });
      for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
    }
  }
}

// A worker that was about to enter the last loop when it closed has to end too.
TEST(ThreadPool, EndsWhileWorkersComeLate) {
  for (int i = 0; i < 3000; ++i) {
    ThreadPool pool(4);
    pool.parallel_for(2, [](std::int64_t, int) {});
  }
}

TEST(ThreadPool, RethrowsWhatABodyThrows) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.parallel_for(100,
                                 [](std::int64_t piece, int) {
                                   if (piece == 50) throw std::runtime_error("fifty");
                                 }),
               std::runtime_error);
  std::atomic<int> ran = 0;
  pool.parallel_for(10, [&](std::int64_t, int) { ++ran; });
  EXPECT_EQ(ran.load(), 10);
}

}  // namespace
}  // namespace shoehorn
