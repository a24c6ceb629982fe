// The passes of a long call side by side: each weight group is taken once and computes them one
// after the other, so that a prompt of many passes reads what is streamed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "model/architecture.h"
#include "model/batch.h"
#include "model/pass.h"
#include "model/runtime.h"
#include "weights/weight_store.h"

namespace shoehorn {

/// Lives while its passes run. Borrows batches, architecture and runtime.
class PassFlight {
 public:
  /// `batches`: in the order of their positions; a later one may go on with a sequence of an
  /// earlier one.
  PassFlight(std::span<const Batch> batches, const Architecture& architecture, Runtime& runtime);
  ~PassFlight();
  PassFlight(const PassFlight&) = delete;
  PassFlight& operator=(const PassFlight&) = delete;

  std::size_t size() const { return passes_.size(); }
  const Pass& front() const { return passes_.front(); }
  /// False where no row's logits are wanted: the head is not computed then.
  bool wants_result() const { return wanted_ != 0; }
  /// Rows whose logits are wanted, of all passes.
  std::size_t wanted() const { return wanted_; }

  /// Computes all passes: stores keys and values of every row and fills the result, in the order of
  /// the passes. Throws FileError from the stream.
  void forward(WeightStore& weights, const PassResult& result) const;

  /// What a flight of `rows` rows takes of a workspace beyond a pass of `pass_rows` of them.
  static std::size_t residual_bytes(std::int64_t rows, std::int64_t pass_rows,
                                    std::int64_t hidden_size);

 private:
  const Architecture& architecture_;
  Runtime& runtime_;
  std::deque<Pass> passes_;  // each begins above its predecessor in the workspaces
  std::size_t wanted_ = 0;
};

}  // namespace shoehorn
