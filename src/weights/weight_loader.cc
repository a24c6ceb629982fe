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
#include "quant/mxfp4.h"
#include "quant/nested_absmax.h"

namespace shoehorn {
namespace {

// Large enough that the drive and not the system call is what takes the time, small enough that
// converting a piece stays in the processor's cache.
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;
constexpr std::size_t kQuantizedPieceBytes = std::size_t{1} << 20;  // of the stored tensor

// Where the codes and the scales of rows of a quantized weight lie.
struct QuantizedRun {
  std::size_t codes = 0;
  std::size_t code_bytes = 0;
  std::size_t scales = 0;  // float32
  std::size_t scale_count = 0;
};

QuantizedRun run_of_rows(const WeightSpec& weight, std::int64_t first, std::int64_t count,
                         std::int64_t k) {
  if (weight.form.quant_type == QuantType::kInt8) {
    const Int8Layout layout = int8_layout(weight.shape[0], weight.shape[1]);
    return {.codes = static_cast<std::size_t>(first * k),
            .code_bytes = static_cast<std::size_t>(count * k),
            .scales = layout.scb + static_cast<std::size_t>(first) * sizeof(float),
            .scale_count = static_cast<std::size_t>(count)};
  }
  const FourBitLayout layout = four_bit_layout(weight.form, weight.shape.elements());
  const std::int64_t block = first * k / weight.form.blocksize;  // a run begins with a block
  const std::int64_t blocks = (count * k + weight.form.blocksize - 1) / weight.form.blocksize;
  return {.codes = static_cast<std::size_t>(first * k / 2),
          .code_bytes = static_cast<std::size_t>((count * k + 1) / 2),
          .scales = layout.absmax + static_cast<std::size_t>(block) * sizeof(float),
          .scale_count = static_cast<std::size_t>(blocks)};
}

}  // namespace

WeightLoader::WeightLoader(const Checkpoint& checkpoint, const WeightSpec& weight,
                           WeightTarget target, Isa isa)
    : checkpoint_(checkpoint), weight_(weight), target_(target), isa_(isa) {
  if (weight.cached != nullptr) {
    cut_cached();
  } else if (weight.stack != nullptr) {
    cut_matrices();
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
  const std::size_t row_bytes =
      rows == 0 ? 0 : target_.bytes.size() / static_cast<std::size_t>(rows);
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
         .bytes = static_cast<std::size_t>(share * static_cast<double>(target_.bytes.size()))});
  }
}

void WeightLoader::cut_parts() {
  for (std::size_t i = 0; i < weight_.quantized->parts.size(); ++i) {
    const QuantizedPart& part = weight_.quantized->parts[i];
    if (part.kind == QuantizedPart::Kind::kMxfp4) {
      cut_blocks(i);
      continue;
    }
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
}

void WeightLoader::cut_blocks(std::size_t part) {
  constexpr std::size_t kBlock = sizeof(quant::BlockMXFP4);
  const std::size_t blocks = weight_.quantized->parts[part].bytes / kBlock;
  const std::size_t step = kQuantizedPieceBytes / kBlock;
  for (std::size_t first = 0; first < blocks; first += step) {
    const std::size_t count = std::min(step, blocks - first);
    pieces_.push_back({.kind = Kind::kStoredPart,
                       .part = part,
                       .first = static_cast<std::int64_t>(first),
                       .count = static_cast<std::int64_t>(count),
                       .bytes = count * kBlock});
  }
}

void WeightLoader::cut_matrices() {
  const std::int64_t count = weight_.stack->size();
  if (count == 0) return;
  const std::size_t bytes = target_.bytes.size() / static_cast<std::size_t>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    matrices_.push_back(weight_.matrix(i));
    const WeightTarget target(target_.bytes.subspan(static_cast<std::size_t>(i) * bytes, bytes),
                              target_.card);
    const WeightLoader& loader =
        matrix_loaders_.emplace_back(checkpoint_, matrices_.back(), target, isa_);
    for (std::int64_t piece = 0; piece < loader.pieces(); ++piece) {
      pieces_.push_back({.kind = Kind::kOfMatrix,
                         .part = static_cast<std::size_t>(i),
                         .first = piece,
                         .bytes = loader.piece_bytes(piece)});
    }
  }
}

void WeightLoader::cut_cached() {
  for (std::size_t first = 0; first < target_.bytes.size(); first += kPieceBytes) {
    const std::size_t count = std::min(kPieceBytes, target_.bytes.size() - first);
    pieces_.push_back({.kind = Kind::kCachedBytes,
                       .first = static_cast<std::int64_t>(first),
                       .count = static_cast<std::int64_t>(count),
                       .bytes = count});
  }
}

std::span<std::byte> WeightLoader::writable(std::size_t offset, std::size_t bytes,
                                            LoadScratch& scratch) {
  return target_.card < 0 ? target_.bytes.subspan(offset, bytes)
                          : scratch.lane.scratch(target_.card, bytes);
}

void WeightLoader::stored(std::size_t offset, std::span<const std::byte> bytes,
                          LoadScratch& scratch) {
  if (target_.card >= 0) scratch.lane.put(target_.card, target_.bytes.data() + offset, bytes);
}

void WeightLoader::put_floats(std::size_t offset, std::span<const float> values,
                              LoadScratch& scratch) {
  if (target_.card >= 0) return stored(offset, std::as_bytes(values), scratch);
  std::memcpy(target_.bytes.data() + offset, values.data(), values.size_bytes());
}

void WeightLoader::load(std::int64_t index, LoadScratch& scratch) {
  const Piece& piece = pieces_[static_cast<std::size_t>(index)];
  const auto first = static_cast<std::size_t>(piece.first);
  switch (piece.kind) {
    case Kind::kRows: {
      const std::size_t offset = first * (piece.bytes / static_cast<std::size_t>(piece.count));
      const auto out = writable(offset, piece.bytes, scratch);
      read_rows(checkpoint_, *weight_.source, weight_.form.dtype, piece.first, piece.count, out,
                scratch, isa_);
      stored(offset, out, scratch);
      break;
    }
    case Kind::kQuantize: quantize_rows(piece, {}, scratch); break;
    case Kind::kOfMatrix: matrix_loaders_[piece.part].load(piece.first, scratch); break;
    case Kind::kStoredPart: load_part(piece, scratch); break;
    case Kind::kCachedBytes: {
      const auto out = writable(first, piece.bytes, scratch);
      weight_.cached->file.read_at(weight_.cached->offset + first, out);
      stored(first, out, scratch);
      break;
    }
  }
  pieces_done(1, scratch);
}

void WeightLoader::pieces_done(std::int64_t count, LoadScratch& scratch) {
  if (left_.fetch_sub(count) == count) finish(scratch);
}

std::optional<WeightLoader::Source> WeightLoader::source_of(std::int64_t index) const {
  const Piece& piece = pieces_[static_cast<std::size_t>(index)];
  const auto first = static_cast<std::size_t>(piece.first);
  if (piece.kind == Kind::kCachedBytes) {
    return Source{&weight_.cached->file, weight_.cached->offset + first, piece.bytes};
  }
  if (piece.kind == Kind::kOfMatrix) return matrix_loaders_[piece.part].source_of(piece.first);
  const TensorInfo* const info =
      piece.kind == Kind::kStoredPart ? weight_.quantized->parts[piece.part].info : weight_.source;
  if (checkpoint_.files().empty() || !info->strides.empty()) return std::nullopt;
  const File* const file = &checkpoint_.files()[info->file];
  switch (piece.kind) {
    case Kind::kRows:
    case Kind::kQuantize: {
      const StoredSpan span = stored_span(*info, piece.first, piece.count);
      return Source{file, info->offset + span.offset, span.bytes};
    }
    case Kind::kStoredPart:
      if (weight_.quantized->parts[piece.part].kind == QuantizedPart::Kind::kMxfp4) {
        return Source{file, info->offset + first * quant::kMxfp4NibbleBytes,
                      static_cast<std::size_t>(piece.count) * quant::kMxfp4NibbleBytes};
      }
      if (weight_.quantized->parts[piece.part].kind != QuantizedPart::Kind::kBytes) {
        return Source{file, info->offset, info->bytes};
      }
      return Source{file, info->offset + first, piece.bytes};
    case Kind::kCachedBytes:
    case Kind::kOfMatrix: break;  // above
  }
  return std::nullopt;
}

void WeightLoader::load_from(std::int64_t index, std::span<const std::byte> bytes,
                             LoadScratch& scratch) {
  const Piece& piece = pieces_[static_cast<std::size_t>(index)];
  const auto first = static_cast<std::size_t>(piece.first);
  if (piece.kind == Kind::kOfMatrix) {
    matrix_loaders_[piece.part].load_from(piece.first, bytes, scratch);
  } else if (piece.kind == Kind::kRows) {
    const std::size_t offset = first * (piece.bytes / static_cast<std::size_t>(piece.count));
    const auto out = writable(offset, piece.bytes, scratch);
    convert_rows(checkpoint_, *weight_.source, weight_.form.dtype, piece.first, piece.count, bytes,
                 out, scratch, isa_);
    stored(offset, out, scratch);
  } else if (piece.kind == Kind::kQuantize) {
    quantize_rows(piece, bytes, scratch);
  } else {
    std::size_t offset = first;
    if (piece.kind == Kind::kStoredPart) {
      const QuantizedPart& part = weight_.quantized->parts[piece.part];
      if (part.kind == QuantizedPart::Kind::kMxfp4) {
        put_mxfp4(part, piece, bytes, scratch);
        return pieces_done(1, scratch);
      }
      if (part.kind != QuantizedPart::Kind::kBytes) {
        put_part(part, bytes, scratch);
        return pieces_done(1, scratch);
      }
      offset += part.offset;
    }
    const auto out = writable(offset, piece.bytes, scratch);
    std::memcpy(out.data(), bytes.data(), bytes.size());
    stored(offset, out, scratch);
  }
  pieces_done(1, scratch);
}

std::optional<WeightLoader::InPlace> WeightLoader::stack_in_place(const Checkpoint& checkpoint,
                                                                  const WeightSpec& weight) {
  const TensorStack& stack = *weight.stack;
  if (stack.plain.empty() || weight.form.is_quantized()) return std::nullopt;
  const TensorInfo& front = stack.plain.front();
  InPlace run{{&checkpoint.files()[front.file], front.offset, 0}, 0};
  for (const TensorInfo& info : stack.plain) {
    const bool follows = info.file == front.file && info.offset == front.offset + run.source.bytes;
    if (!follows || !is_stored_form(info, weight.form.dtype)) return std::nullopt;
    const std::int64_t rows = row_layout(info).rows;
    const std::int64_t step = rows_per_piece(info, kPieceBytes);
    run.source.bytes += info.bytes;
    run.pieces += static_cast<std::size_t>((rows + step - 1) / step);
  }
  return run;
}

std::optional<WeightLoader::InPlace> WeightLoader::in_place(const Checkpoint& checkpoint,
                                                            const WeightSpec& weight) {
  const auto pieces_of = [](std::size_t bytes) { return (bytes + kPieceBytes - 1) / kPieceBytes; };
  if (weight.cached != nullptr) {
    const std::size_t bytes = form_bytes(weight);
    return InPlace{{&weight.cached->file, weight.cached->offset, bytes}, pieces_of(bytes)};
  }
  if (checkpoint.files().empty()) return std::nullopt;
  if (weight.stack != nullptr) return stack_in_place(checkpoint, weight);
  if (weight.quantized != nullptr) {
    const QuantizedPart& part = weight.quantized->parts.front();
    if (part.kind != QuantizedPart::Kind::kBytes || part.offset != 0 ||
        !part.info->strides.empty()) {
      return std::nullopt;
    }
    return InPlace{{&checkpoint.files()[part.info->file], part.info->offset, part.bytes},
                   pieces_of(part.bytes)};
  }
  const TensorInfo& info = *weight.source;
  if (weight.form.is_quantized() || !is_stored_form(info, weight.form.dtype)) return std::nullopt;
  const std::int64_t rows = row_layout(info).rows;
  const std::int64_t step = rows_per_piece(info, kPieceBytes);
  return InPlace{{&checkpoint.files()[info.file], info.offset, info.bytes},
                 static_cast<std::size_t>((rows + step - 1) / step)};
}

void WeightLoader::loaded_in_place(LoadScratch& scratch) {
  pieces_done(static_cast<std::int64_t>(in_place(checkpoint_, weight_)->pieces), scratch);
}

void WeightLoader::load_part(const Piece& piece, LoadScratch& scratch) {
  const QuantizedPart& part = weight_.quantized->parts[piece.part];
  const auto first = static_cast<std::size_t>(piece.first);
  if (part.kind == QuantizedPart::Kind::kMxfp4) {
    std::vector<std::byte>& nibbles = scratch.stored;
    nibbles.resize(static_cast<std::size_t>(piece.count) * quant::kMxfp4NibbleBytes);
    checkpoint_.read_at(*part.info, first * quant::kMxfp4NibbleBytes, nibbles);
    return put_mxfp4(part, piece, nibbles, scratch);
  }
  if (part.kind != QuantizedPart::Kind::kBytes) return load_floats(part, scratch);
  const auto out = writable(part.offset + first, piece.bytes, scratch);
  checkpoint_.read_at(*part.info, first, out);
  stored(part.offset + first, out, scratch);
}

// Scales are a sixteenth of it, in a tensor of their own: they are read here.
void WeightLoader::put_mxfp4(const QuantizedPart& part, const Piece& piece,
                             std::span<const std::byte> nibbles, LoadScratch& scratch) {
  const auto first = static_cast<std::size_t>(piece.first);
  const auto count = static_cast<std::size_t>(piece.count);
  std::vector<std::byte>& scales = scratch.converted;
  scales.resize(count);
  checkpoint_.read_at(*part.scales, first, scales);
  const std::size_t offset = part.offset + first * sizeof(quant::BlockMXFP4);
  const auto out = writable(offset, piece.bytes, scratch);
  quant::pack_mxfp4({reinterpret_cast<const std::uint8_t*>(nibbles.data()), nibbles.size()},
                    {reinterpret_cast<const std::uint8_t*>(scales.data()), scales.size()},
                    {reinterpret_cast<quant::BlockMXFP4*>(out.data()), count});
  stored(offset, out, scratch);
}

void WeightLoader::load_floats(const QuantizedPart& part, LoadScratch& scratch) {
  scratch.stored.resize(part.info->bytes);
  checkpoint_.read(*part.info, scratch.stored);
  put_part(part, scratch.stored, scratch);
}

void WeightLoader::put_part(const QuantizedPart& part, std::span<const std::byte> bytes,
                            LoadScratch& scratch) {
  const TensorInfo& info = *part.info;
  const std::int64_t count = info.shape.elements();
  scratch.values.resize(static_cast<std::size_t>(count));
  float* const values = scratch.values.data();
  decode_row(info.dtype, bytes.data(), count, values, isa_);
  if (!std::ranges::all_of(scratch.values, [](float value) { return std::isfinite(value); })) {
    throw FormatError(checkpoint_.path_of(info),
                      str_cat(info.name, " has values that are not finite"));
  }
  if (part.kind == QuantizedPart::Kind::kFloats) {
    return put_floats(part.offset, scratch.values, scratch);
  }
  const std::int64_t rows = info.shape[0];  // blocks of a weight's row
  const std::int64_t columns = info.shape[1];
  std::vector<float> transposed(scratch.values.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t n = 0; n < columns; ++n) {
      transposed[static_cast<std::size_t>(n * rows + i)] = values[i * columns + n];
    }
  }
  put_floats(part.offset, transposed, scratch);
}

// Row after row, so that the widened values stay in the nearest cache.
void WeightLoader::quantize_rows(const Piece& piece, std::span<const std::byte> bytes,
                                 LoadScratch& scratch) {
  const TensorInfo& info = *weight_.source;
  const std::int64_t k = row_layout(info).row_elements;
  const DType dtype = weight_.form.dtype;
  const std::int64_t unit = weight_.form.is_four_bit() && k > 0
                                ? weight_.form.blocksize / std::gcd(k, weight_.form.blocksize)
                                : 1;
  const std::size_t row_bytes = packed_bytes(dtype, k).value();
  std::vector<std::byte>& rows = scratch.converted;
  rows.resize(static_cast<std::size_t>(piece.count) * row_bytes);
  if (bytes.empty()) {
    read_rows(checkpoint_, info, dtype, piece.first, piece.count, rows, scratch, isa_);
  } else {
    convert_rows(checkpoint_, info, dtype, piece.first, piece.count, bytes, rows, scratch, isa_);
  }
  scratch.values.resize(static_cast<std::size_t>(std::min(unit, piece.count) * k));

  const QuantizedRun run = run_of_rows(weight_, piece.first, piece.count, k);
  const bool nested = weight_.form.nested;
  const bool on_card = target_.card >= 0;
  // Codes first; scales behind them where both wait in scratch for their way to the card.
  const std::size_t padded = (run.code_bytes + sizeof(float) - 1) / sizeof(float) * sizeof(float);
  const std::size_t scale_bytes = run.scale_count * sizeof(float);
  const auto codes = on_card ? writable(run.codes, padded + scale_bytes, scratch)
                             : writable(run.codes, run.code_bytes, scratch);
  float* const scales = nested    ? plain_absmax() + piece.first * k / weight_.form.blocksize
                        : on_card ? reinterpret_cast<float*>(codes.data() + padded)
                                  : reinterpret_cast<float*>(target_.bytes.data() + run.scales);

  for (std::int64_t done = 0; done < piece.count; done += unit) {
    const std::int64_t count = std::min(unit, piece.count - done);
    decode_row(dtype, rows.data() + static_cast<std::size_t>(done) * row_bytes, count * k,
               scratch.values.data(), isa_);
    const QuantizedRun part = run_of_rows(weight_, piece.first + done, count, k);
    if (!quantize_values(scratch.values.data(), count, codes.data() + (part.codes - run.codes),
                         scales + (part.scales - run.scales) / sizeof(float))) {
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
  if (!on_card) return;
  stored(run.codes, codes.first(run.code_bytes), scratch);
  if (!nested) stored(run.scales, codes.subspan(padded, scale_bytes), scratch);
}

bool WeightLoader::quantize_values(const float* values, std::int64_t rows, std::byte* codes,
                                   float* scales) {
  const std::int64_t k = row_layout(*weight_.source).row_elements;
  if (weight_.form.quant_type == QuantType::kInt8) {
    return quantize_int8_weight(values, rows, k, reinterpret_cast<std::int8_t*>(codes), scales,
                                isa_);
  }
  return quantize_four_bit_weight(weight_.form.quant_type, weight_.form.blocksize, values, rows * k,
                                  reinterpret_cast<std::uint8_t*>(codes), scales, isa_);
}

float* WeightLoader::plain_absmax() {
  const std::lock_guard lock(mutex_);
  if (absmax_.empty()) {
    absmax_.resize(
        static_cast<std::size_t>(four_bit_layout(weight_.form, weight_.shape.elements()).blocks));
  }
  return absmax_.data();
}

// Called by the thread that loaded the last piece.
void WeightLoader::finish(LoadScratch& scratch) {
  if (weight_.cached != nullptr) {
    if (target_.card < 0) weight_.cached->check(target_.bytes);
    return;
  }
  if (weight_.stack != nullptr) return;
  if (weight_.quantized == nullptr) return finish_quantized(scratch);
  for (const QuantizedConstant& constant : weight_.quantized->constants) {
    put_floats(constant.offset, constant.values, scratch);
  }
}

void WeightLoader::finish_quantized(LoadScratch& scratch) {
  if (!weight_.form.is_four_bit()) return;
  const FourBitLayout layout = four_bit_layout(weight_.form, weight_.shape.elements());
  put_floats(layout.quant_map, four_bit_code(weight_.form.quant_type), scratch);
  if (!weight_.form.nested) return;
  put_floats(layout.nested_quant_map, dynamic_map(), scratch);
  std::vector<std::uint8_t> codes(absmax_.size());
  std::vector<float> nested(static_cast<std::size_t>(layout.nested_blocks));
  float offset = 0;
  nest_absmax(absmax_, weight_.parity, codes, nested, offset);
  if (target_.card < 0) {
    std::memcpy(target_.bytes.data() + layout.absmax, codes.data(), codes.size());
  } else {
    stored(layout.absmax, std::as_bytes(std::span(codes)), scratch);
  }
  put_floats(layout.nested_absmax, nested, scratch);
  put_floats(layout.nested_offset, {&offset, 1}, scratch);
  absmax_ = {};
}

}  // namespace shoehorn
