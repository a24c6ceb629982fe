// Brings one weight into memory in the form it is computed with, in pieces that any thread may work
// on: as stored, converted, quantized on the way in, from a checkpoint that is quantized already,
// or from the weight cache.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "weights/tensor_reader.h"
#include "weights/upload_lane.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// Where the bytes of a weight go.
struct WeightTarget {
  std::span<std::byte> bytes;  // form_bytes(weight) of them
  int card = -1;               // they are addresses of this card; -1: of the host

  // NOLINTNEXTLINE(google-explicit-constructor): host memory is a target as it is
  WeightTarget(std::span<std::byte> bytes, int card = -1) : bytes(bytes), card(card) {}
};

/// Scratch of one loading thread.
struct LoadScratch : ReadScratch {
  UploadLane lane;
};

/// Thread-safe: every piece is loaded once, in any order. What is borrowed outlives it.
class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, const WeightSpec& weight, WeightTarget target,
               Isa isa);

  const std::string& path() const { return weight_.path; }
  std::int64_t pieces() const { return static_cast<std::int64_t>(pieces_.size()); }
  /// Its share of the weight's bytes in memory, for progress.
  std::size_t piece_bytes(std::int64_t piece) const;

  /// Throws FileError, FormatError naming the tensor where a value is not finite and has to be, and
  /// UnsupportedError for a dtype without floats.
  void load(std::int64_t piece, LoadScratch& scratch);

  /// What of a file a piece is made of; nothing where only load() can bring it (a tensor with
  /// strides, values without a file).
  struct Source {
    const File* file = nullptr;
    std::uint64_t offset = 0;
    std::size_t bytes = 0;
  };
  std::optional<Source> source_of(std::int64_t piece) const;
  /// load() of a piece whose source_of() bytes were read already.
  void load_from(std::int64_t piece, std::span<const std::byte> stored, LoadScratch& scratch);

  /// What of the weight's bytes in memory is a run of a file as it is, from its first byte on. A
  /// tensor in its stored form, or in the weight cache, is that altogether; of one that is
  /// quantized already it is the packed values, scales follow them.
  struct InPlace {
    Source source;
    std::size_t pieces = 0;  // the first so many are made of it
  };
  static std::optional<InPlace> in_place(const Checkpoint& checkpoint, const WeightSpec& weight);
  /// The bytes of in_place() are where they belong: takes the place of load() of its pieces.
  void loaded_in_place(LoadScratch& scratch);

 private:
  enum class Kind { kRows, kQuantize, kStoredPart, kCachedBytes, kOfMatrix };
  struct Piece {
    Kind kind;
    std::size_t part = 0;    // kStoredPart; kOfMatrix: which matrix
    std::int64_t first = 0;  // row, byte within the part (kMxfp4: block), piece of the matrix
    std::int64_t count = 0;
    std::size_t bytes = 0;  // in memory
  };

  static std::optional<InPlace> stack_in_place(const Checkpoint& checkpoint,
                                               const WeightSpec& weight);
  void cut_rows();
  void cut_quantized_rows();
  void cut_parts();
  void cut_blocks(std::size_t part);
  void cut_cached();
  void cut_matrices();
  void load_part(const Piece& piece, LoadScratch& scratch);
  void load_floats(const QuantizedPart& part, LoadScratch& scratch);
  void put_part(const QuantizedPart& part, std::span<const std::byte> bytes, LoadScratch& scratch);
  void pieces_done(std::int64_t count, LoadScratch& scratch);
  /// Of rows whose stored bytes are at hand; none: they are read.
  void quantize_rows(const Piece& piece, std::span<const std::byte> bytes, LoadScratch& scratch);
  void put_mxfp4(const QuantizedPart& part, const Piece& piece, std::span<const std::byte> nibbles,
                 LoadScratch& scratch);
  bool quantize_values(const float* values, std::int64_t rows, std::byte* codes, float* scales);
  float* plain_absmax();
  void finish(LoadScratch& scratch);
  void finish_quantized(LoadScratch& scratch);

  /// Where the host writes a run of the target: itself, or scratch that stored() sends to the card.
  std::span<std::byte> writable(std::size_t offset, std::size_t bytes, LoadScratch& scratch);
  void stored(std::size_t offset, std::span<const std::byte> bytes, LoadScratch& scratch);
  void put_floats(std::size_t offset, std::span<const float> values, LoadScratch& scratch);

  const Checkpoint& checkpoint_;
  const WeightSpec& weight_;
  WeightTarget target_;
  Isa isa_;
  std::vector<Piece> pieces_;
  std::atomic<std::int64_t> left_;  // pieces that have not been loaded
  std::mutex mutex_;
  std::vector<float> absmax_;        // of a weight that will be nested, while its pieces come in
  std::deque<WeightSpec> matrices_;  // of a stack
  std::deque<WeightLoader> matrix_loaders_;  // likewise
};

}  // namespace shoehorn
