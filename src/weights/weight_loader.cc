#include "weights/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/decode_row.h"
#include "kernels/quantize_weight.h"
#include "quant/code_books.h"
#include "quant/nested_absmax.h"

namespace shoehorn {
namespace {

// Large enough that the drive and not the system call is what takes the time, small enough that
// converting a piece stays in the processor's cache.
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;
constexpr std::size_t kQuantizedPieceBytes = std::size_t{1} << 20;  // of the stored tensor

void write_floats(std::span<const float> values, std::byte* to) {
  std::memcpy(to, values.data(), values.size_bytes());
}

}  // namespace

WeightLoader::WeightLoader(const Checkpoint& checkpoint, const WeightSpec& weight,
                           std::span<std::byte> target, Isa isa)
    : checkpoint_(checkpoint), weight_(weight), target_(target), isa_(isa) {
  if (weight.cached != nullptr) {
    cut_cached();
  } else if (weight.quantized != nullptr) {
    cut_parts();
  } else if (weight.form.is_quantized()) {
    cut_quantized_rows();
  } else {
    cut_rows();
  }
  left_ = pieces();
}

std::size_t WeightLoader::piece_bytes(std::int64_t piece) const {
  return pieces_[static_cast<std::size_t>(piece)].bytes;
}

void WeightLoader::cut_rows() {
  const TensorInfo& info = *weight_.source;
  const std::int64_t rows = row_layout(info).rows;
  const std::int64_t step = rows_per_piece(info, kPieceBytes);
  const std::size_t row_bytes = rows == 0 ? 0 : target_.size() / static_cast<std::size_t>(rows);
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t count = std::min(step, rows - first);
    pieces_.push_back({.kind = Kind::kRows,
                       .first = first,
                       .count = count,
                       .bytes = static_cast<std::size_t>(count) * row_bytes});
  }
}

void WeightLoader::cut_quantized_rows() {
  const TensorInfo& info = *weight_.source;
  const auto [rows, k] = row_layout(info);
  // Blocks of four bits run over row ends: a piece begins where a block does.
  const std::int64_t unit = weight_.form.is_four_bit() && k > 0
                                ? weight_.form.blocksize / std::gcd(k, weight_.form.blocksize)
                                : 1;
  std::int64_t step = rows_per_piece(info, kQuantizedPieceBytes);
  step = (step + unit - 1) / unit * unit;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t count = std::min(step, rows - first);
    const double share = static_cast<double>(count) / static_cast<double>(rows);
    pieces_.push_back(
        {.kind = Kind::kQuantize,
         .first = first,
         .count = count,
         .bytes = static_cast<std::size_t>(share * static_cast<double>(target_.size()))});
  }
}

void WeightLoader::cut_parts() {
  for (std::size_t i = 0; i < weight_.quantized->parts.size(); ++i) {
    const QuantizedPart& part = weight_.quantized->parts[i];
    const std::size_t step = part.kind == QuantizedPart::Kind::kBytes ? kPieceBytes : part.bytes;
    for (std::size_t first = 0; first < part.bytes; first += step) {
      const std::size_t count = std::min(step, part.bytes - first);
      pieces_.push_back({.kind = Kind::kStoredPart,
                         .part = i,
                         .first = static_cast<std::int64_t>(first),
                         .count = static_cast<std::int64_t>(count),
                         .bytes = count});
    }
  }
  for (const QuantizedConstant& constant : weight_.quantized->constants) {
    write_floats(constant.values, target_.data() + constant.offset);
  }
}

void WeightLoader::cut_cached() {
  for (std::size_t first = 0; first < target_.size(); first += kPieceBytes) {
    const std::size_t count = std::min(kPieceBytes, target_.size() - first);
    pieces_.push_back({.kind = Kind::kCachedBytes,
                       .first = static_cast<std::int64_t>(first),
                       .count = static_cast<std::int64_t>(count),
                       .bytes = count});
  }
}

void WeightLoader::load(std::int64_t index, ReadScratch& scratch) {
  const Piece& piece = pieces_[static_cast<std::size_t>(index)];
  switch (piece.kind) {
    case Kind::kRows: {
      const std::size_t row_bytes = piece.bytes / static_cast<std::size_t>(piece.count);
      read_rows(checkpoint_, *weight_.source, weight_.form.dtype, piece.first, piece.count,
                at(static_cast<std::size_t>(piece.first) * row_bytes, piece.bytes), scratch, isa_);
      break;
    }
    case Kind::kQuantize: quantize_rows(piece, scratch); break;
    case Kind::kStoredPart: load_part(piece, scratch); break;
    case Kind::kCachedBytes: {
      const auto first = static_cast<std::size_t>(piece.first);
      weight_.cached->file.read_at(weight_.cached->offset + first, at(first, piece.bytes));
      break;
    }
  }
  if (left_.fetch_sub(1) == 1 && piece.kind == Kind::kQuantize) finish_quantized();
}

void WeightLoader::load_part(const Piece& piece, ReadScratch& scratch) {
  const QuantizedPart& part = weight_.quantized->parts[piece.part];
  if (part.kind != QuantizedPart::Kind::kBytes) return load_floats(part, scratch);
  const auto first = static_cast<std::size_t>(piece.first);
  checkpoint_.read_at(*part.info, first, at(part.offset + first, piece.bytes));
}

void WeightLoader::load_floats(const QuantizedPart& part, ReadScratch& scratch) {
  const TensorInfo& info = *part.info;
  const std::int64_t count = info.shape.elements();
  scratch.stored.resize(info.bytes);
  scratch.values.resize(static_cast<std::size_t>(count));
  checkpoint_.read(info, scratch.stored);
  float* const values = scratch.values.data();
  decode_row(info.dtype, scratch.stored.data(), count, values, isa_);
  if (!std::ranges::all_of(scratch.values, [](float value) { return std::isfinite(value); })) {
    throw FormatError(checkpoint_.path_of(info),
                      str_cat(info.name, " has values that are not finite"));
  }
  std::byte* const target = target_.data() + part.offset;
  if (part.kind == QuantizedPart::Kind::kFloats) return write_floats(scratch.values, target);
  const std::int64_t rows = info.shape[0];  // blocks of a weight's row
  const std::int64_t columns = info.shape[1];
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t n = 0; n < columns; ++n) {
      std::memcpy(target + static_cast<std::size_t>(n * rows + i) * sizeof(float),
                  values + i * columns + n, sizeof(float));
    }
  }
}

// Row after row, so that the widened values stay in the nearest cache.
void WeightLoader::quantize_rows(const Piece& piece, ReadScratch& scratch) {
  const TensorInfo& info = *weight_.source;
  const std::int64_t k = row_layout(info).row_elements;
  const DType dtype = weight_.form.dtype;
  const std::int64_t unit = weight_.form.is_four_bit() && k > 0
                                ? weight_.form.blocksize / std::gcd(k, weight_.form.blocksize)
                                : 1;
  const std::size_t row_bytes = packed_bytes(dtype, k).value();
  std::vector<std::byte>& rows = scratch.converted;
  rows.resize(static_cast<std::size_t>(piece.count) * row_bytes);
  read_rows(checkpoint_, info, dtype, piece.first, piece.count, rows, scratch, isa_);
  scratch.values.resize(static_cast<std::size_t>(std::min(unit, piece.count) * k));
  for (std::int64_t done = 0; done < piece.count; done += unit) {
    const std::int64_t count = std::min(unit, piece.count - done);
    decode_row(dtype, rows.data() + static_cast<std::size_t>(done) * row_bytes, count * k,
               scratch.values.data(), isa_);
    if (!quantize_values(scratch.values.data(), piece.first + done, count)) {
      throw FormatError(
          checkpoint_.path_of(info),
          str_cat(info.name, " has values that are not finite",
                  weight_.form.quant_type == QuantType::kInt8
                      ? " as float16, which int8 goes through"
                      : "",
                  " in rows ", piece.first + done, " to ", piece.first + done + count - 1,
                  ": it cannot be quantized to ", to_string(weight_.form.quant_type),
                  "; llm_int8_skip_modules leaves it as it is"));
    }
  }
}

bool WeightLoader::quantize_values(const float* values, std::int64_t row, std::int64_t rows) {
  const std::int64_t k = row_layout(*weight_.source).row_elements;
  if (weight_.form.quant_type == QuantType::kInt8) {
    const Int8Layout layout = int8_layout(weight_.shape[0], weight_.shape[1]);
    auto* const codes = reinterpret_cast<std::int8_t*>(target_.data());
    auto* const scb = reinterpret_cast<float*>(target_.data() + layout.scb);
    return quantize_int8_weight(values, rows, k, codes + row * k, scb + row, isa_);
  }
  const FourBitLayout layout = four_bit_layout(weight_.form, weight_.shape.elements());
  auto* const packed = reinterpret_cast<std::uint8_t*>(target_.data());
  float* const absmax = weight_.form.nested
                            ? plain_absmax()
                            : reinterpret_cast<float*>(target_.data() + layout.absmax);
  const std::int64_t first = row * k;
  return quantize_four_bit_weight(weight_.form.quant_type, weight_.form.blocksize, values, rows * k,
                                  packed + first / 2, absmax + first / weight_.form.blocksize,
                                  isa_);
}

float* WeightLoader::plain_absmax() {
  const std::lock_guard lock(mutex_);
  if (absmax_.empty()) {
    absmax_.resize(
        static_cast<std::size_t>(four_bit_layout(weight_.form, weight_.shape.elements()).blocks));
  }
  return absmax_.data();
}

void WeightLoader::finish_quantized() {
  if (!weight_.form.is_four_bit()) return;
  const FourBitLayout layout = four_bit_layout(weight_.form, weight_.shape.elements());
  write_floats(four_bit_code(weight_.form.quant_type), target_.data() + layout.quant_map);
  if (!weight_.form.nested) return;
  write_floats(dynamic_map(), target_.data() + layout.nested_quant_map);
  float offset = 0;
  nest_absmax(absmax_, weight_.parity,
              {reinterpret_cast<std::uint8_t*>(target_.data() + layout.absmax), absmax_.size()},
              {reinterpret_cast<float*>(target_.data() + layout.nested_absmax),
               static_cast<std::size_t>(layout.nested_blocks)},
              offset);
  write_floats({&offset, 1}, target_.data() + layout.nested_offset);
  absmax_ = {};
}

}  // namespace shoehorn
