#include "cuda/graph.h"

#include <cuda_runtime_api.h>

#include "cuda/check.h"

namespace shoehorn::cuda {

Graph::Graph(Queue& queue, const std::function<void()>& work) : ordinal_(queue.ordinal()) {
  queue.make_current();
  cudaGraph_t graph = nullptr;
  // Thread-local: other threads may allocate and copy meanwhile.
  check(cudaStreamBeginCapture(queue.stream(), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture", ordinal_);
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(queue.stream(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    static_cast<void>(cudaGetLastError());
    throw;
  }
  check(cudaStreamEndCapture(queue.stream(), &graph), "cudaStreamEndCapture", ordinal_);
  const cudaError_t error = cudaGraphInstantiate(&exec_, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "cudaGraphInstantiate", ordinal_);
}

Graph::~Graph() {
  if (exec_ != nullptr) cudaGraphExecDestroy(exec_);
}

void Graph::launch(const Queue& queue) const {
  check(cudaGraphLaunch(exec_, queue.stream()), "cudaGraphLaunch", ordinal_);
}

}  // namespace shoehorn::cuda
