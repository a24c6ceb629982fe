// Work of a queue, recorded once and launched as a whole: a pass of hundreds of small kernels then
// costs the host one call.
#pragma once

#include <functional>

#include "cuda/queue.h"

struct CUgraphExec_st;

namespace shoehorn::cuda {

/// A recorded graph. Not copyable; thread-compatible.
class Graph {
 public:
  /// Records what `work` submits to the queue without running it: kernels, copies between page-
  /// locked and card memory. `work` must not wait for the queue. If it throws, so does this.
  Graph(Queue& queue, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Submits the recorded work; memory it names must still be there.
  void launch(const Queue& queue) const;

 private:
  int ordinal_;
  CUgraphExec_st* exec_ = nullptr;
};

}  // namespace shoehorn::cuda
