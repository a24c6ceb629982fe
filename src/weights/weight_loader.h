// Brings one weight into memory in the form it is computed with, in pieces that any thread may work
// on: as stored, converted, quantized on the way in, from a checkpoint that is quantized already,
// or from the weight cache.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "weights/tensor_reader.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// Thread-safe: every piece is loaded once, in any order. What is borrowed outlives it.
class WeightLoader {
 public:
  /// `target` is form_bytes(weight) long.
  WeightLoader(const Checkpoint& checkpoint, const WeightSpec& weight, std::span<std::byte> target,
               Isa isa);

  std::int64_t pieces() const { return static_cast<std::int64_t>(pieces_.size()); }
  /// Its share of the weight's bytes in memory, for progress.
  std::size_t piece_bytes(std::int64_t piece) const;

  /// Throws FileError, FormatError naming the tensor where a value is not finite and has to be, and
  /// UnsupportedError for a dtype without floats.
  void load(std::int64_t piece, ReadScratch& scratch);

 private:
  enum class Kind { kRows, kQuantize, kStoredPart, kCachedBytes };
  struct Piece {
    Kind kind;
    std::size_t part = 0;    // kStoredPart
    std::int64_t first = 0;  // row, or byte within the part
    std::int64_t count = 0;
    std::size_t bytes = 0;  // in memory
  };

  void cut_rows();
  void cut_quantized_rows();
  void cut_parts();
  void cut_cached();
  void load_part(const Piece& piece, ReadScratch& scratch);
  void load_floats(const QuantizedPart& part, ReadScratch& scratch);
  void quantize_rows(const Piece& piece, ReadScratch& scratch);
  bool quantize_values(const float* values, std::int64_t row, std::int64_t rows);
  float* plain_absmax();
  void finish_quantized();
  std::span<std::byte> at(std::size_t offset, std::size_t bytes) {
    return target_.subspan(offset, bytes);
  }

  const Checkpoint& checkpoint_;
  const WeightSpec& weight_;
  std::span<std::byte> target_;
  Isa isa_;
  std::vector<Piece> pieces_;
  std::atomic<std::int64_t> left_;  // pieces that have not been loaded
  std::mutex mutex_;
  std::vector<float> absmax_;  // of a weight that will be nested, while its pieces come in
};

}  // namespace shoehorn
