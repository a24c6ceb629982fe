// Decode passes on one CUDA device, recorded as graphs: hundreds of small kernels a token then cost
// the host one call.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "cuda/graph.h"
#include "model/pass.h"
#include "model/runtime.h"

namespace shoehorn {

/// Of a route whose groups and weights are all on `device`. Used by one pass at a time.
class RecordedPasses {
 public:
  RecordedPasses(Runtime& runtime, Device device) : runtime_(runtime), device_(device) {}

  /// Runs a pass from its recording, and records it where one of its shape came before; a shape's
  /// first pass only prepares (kernels are loaded, products are planned). False where `forward` has
  /// to be called: the first pass of a shape, and passes that are worth no recording.
  bool run(const Pass& pass, const std::function<void()>& forward, const PassResult& result);

 private:
  /// Two passes of one shape differ in what the pass's tables hold, and nothing else.
  struct Shape {
    std::int64_t rows = 0;
    std::int64_t wanted = 0;
    std::int64_t positions = 0;
    bool likeliest = false;
    auto operator<=>(const Shape&) const = default;
  };
  struct Recording {
    std::unique_ptr<cuda::Graph> graph;  // null until a second pass comes
    cuda::PinnedMemory result;
  };

  Runtime& runtime_;
  Device device_;
  std::map<Shape, Recording> recordings_;
};

}  // namespace shoehorn
