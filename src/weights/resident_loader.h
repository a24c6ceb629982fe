// Loads what stays in memory: one thread keeps several direct reads in flight, the pool brings what
// has come to its form; what has it already is read to where it stays, and the pool puts pages
// under that memory ahead of the reads. What the page cache already holds is taken from there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/async_reader.h"
#include "base/thread_pool.h"
#include "weights/weight_loader.h"

namespace shoehorn {

/// One piece of one weight; or, with `place`, the whole of it as one run of a file.
struct LoadJob {
  WeightLoader* loader = nullptr;
  std::int64_t piece = 0;
  /// Where the bytes of `run` go: at the run's offset in a block of kIoAlignment, and no other
  /// weight is in the blocks that they touch.
  std::byte* place = nullptr;
  WeightLoader::Source run = {};
};

struct JobOptions {
  IoMode io = {};
  /// Through the page cache, which then has it when the model is loaded again.
  bool leave_in_page_cache = false;
};

/// Does every job; `loaded` is told of the bytes of each, from several threads. Throws the first
/// thing that a job or a read met.
void load_jobs(const std::vector<LoadJob>& jobs, const JobOptions& options, ThreadPool& pool,
               const std::function<void(std::size_t bytes)>& loaded);

}  // namespace shoehorn
