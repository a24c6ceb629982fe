// One pass as every device sees it: what the host knows of the batch, and the same in tables on the
// CUDA devices that compute, where kernels read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_cuda.h"
#include "model/batch.h"
#include "model/runtime.h"

namespace shoehorn {

/// cos and sin of every row of a batch, [rows, rotary_dim / 2].
struct RotaryTable {
  std::vector<float> cos;
  std::vector<float> sin;
};

/// The same where a device reads it.
struct RotaryView {
  std::span<const float> cos;
  std::span<const float> sin;
};

/// What a pass gives to the host: one of the two.
struct PassResult {
  std::span<float> logits;  // [wanted, vocab_size]
  /// [wanted]: the ids of the largest logits, the lowest where several are, -1 where a row holds no
  /// number. Of a head on a CUDA device alone.
  std::span<std::int32_t> likeliest = {};
};

/// Lives while its pass runs; what it needs on CUDA devices lies at the bottom of their workspaces,
/// at addresses that depend on the batch's shape alone. Borrows batch and runtime.
class Pass {
 public:
  /// `rotary`: the tables of an architecture's rotary embeddings, none for those without;
  /// `alibi_slopes` [heads]: of its linear biases, likewise, which outlive the pass.
  Pass(const Batch& batch, std::vector<RotaryTable> rotary, std::span<const float> alibi_slopes,
       Runtime& runtime);
  ~Pass();
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  const Batch& batch() const { return batch_; }
  std::int64_t rows() const { return rows_; }
  /// The rows whose logits are wanted, in order.
  const std::vector<std::int64_t>& wanted() const { return wanted_; }
  /// The longest that any cache is after the pass, rounded up so that neighbours share it, and the
  /// most new tokens of a sequence.
  std::int64_t most_positions() const { return most_positions_; }
  std::int64_t most_rows() const { return most_rows_; }

  RotaryView rotary(std::size_t table, Device device) const;

  // On a CUDA device of the route:
  const std::int32_t* ids(Device device) const;          // [rows]
  const std::int32_t* positions(Device device) const;    // [rows]
  const std::int32_t* wanted_rows(Device device) const;  // [wanted]
  const float* alibi_slopes(Device device) const;        // [heads]
  const cuda::SequenceRows* sequences(Device device) const;
  /// The caches of a layer, one a sequence.
  const cuda::KvPlace* places(std::int64_t layer, Device device) const;

  /// most_positions() of caches that hold `positions` after a pass.
  static std::int64_t rounded_positions(std::int64_t positions);

  /// Bytes that the tables take of a device's workspace at most.
  static std::size_t table_bytes(std::int64_t rows, std::int64_t layers, std::int64_t heads,
                                 std::int64_t rotary_floats);

 private:
  struct Tables {
    Device device;
    std::size_t mark;  // of the workspace
    std::byte* base;
  };
  struct Layout {  // offsets
    std::size_t ids = 0;
    std::size_t positions = 0;
    std::size_t wanted = 0;
    std::size_t alibi_slopes = 0;
    std::size_t sequences = 0;
    std::size_t places = 0;
    std::vector<std::size_t> rotary;
    std::size_t bytes = 0;
  };
  void lay_out(std::size_t layers);
  void fill(std::span<std::byte> block, std::size_t layers) const;
  const Tables& tables(Device device) const;

  const Batch& batch_;
  std::vector<RotaryTable> rotary_;
  std::span<const float> alibi_slopes_;
  Runtime& runtime_;
  std::int64_t rows_;
  std::vector<std::int64_t> wanted_;
  std::int64_t most_positions_ = 0;
  std::int64_t most_rows_ = 0;
  Layout layout_;
  std::vector<Tables> tables_;
};

}  // namespace shoehorn
