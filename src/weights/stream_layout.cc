#include "weights/stream_layout.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "tensor/dtype.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

// Chunks are what the ring places: large enough that a layer of small tensors is one, small enough
// that little of the ring is lost at its end.
constexpr std::size_t kChunkBytes = std::size_t{16} << 20;
constexpr std::size_t kSmallBytes = std::size_t{1} << 20;
constexpr std::size_t kMostGap = kIoAlignment;  // padding that is read along

struct Source {
  std::size_t index;
  std::size_t form_bytes;
  std::optional<WeightLoader::InPlace> in_place;
  bool whole = false;
};

/// Kernels take values at their own alignment; GGUF blocks and bitsandbytes' parts hold floats.
std::size_t alignment_of(const WeightForm& form) {
  if (form.is_quantized() || is_block(form.dtype)) return sizeof(float);
  return packed_bytes(form.dtype, 1).value_or(sizeof(float));
}

Source source_of(const Checkpoint& checkpoint, const WeightSpec& weight, std::size_t index) {
  Source source{index, form_bytes(weight), WeightLoader::in_place(checkpoint, weight)};
  if (source.in_place && source.in_place->source.offset % alignment_of(weight.form) != 0) {
    source.in_place.reset();
  }
  source.whole = source.in_place && source.in_place->source.bytes == source.form_bytes;
  return source;
}

bool joins(const StreamChunk& chunk, const Source& source) {
  const auto& run = source.in_place->source;
  if (chunk.file != run.file || run.offset < chunk.offset + chunk.in_place_bytes) return false;
  const std::uint64_t gap = run.offset - (chunk.offset + chunk.in_place_bytes);
  return gap < kMostGap &&
         (chunk.ring.bytes < kSmallBytes || chunk.ring.bytes + run.bytes <= kChunkBytes);
}

/// True if the chunk's bytes end where those of the next run begin.
bool follows(const StreamChunk& chunk, const StreamChunk& next) {
  return next.file != nullptr && chunk.file == next.file &&
         chunk.ring.bytes == chunk.in_place_bytes &&
         chunk.offset + chunk.in_place_bytes == next.offset;
}

}  // namespace

StreamLayout stream_layout(const Checkpoint& checkpoint, const WeightGroup& group) {
  std::vector<Source> sources;
  for (std::size_t w = 0; w < group.weights.size(); ++w) {
    if (is_streamed(group.weights[w]) && form_bytes(group.weights[w]) > 0) {
      sources.push_back(source_of(checkpoint, group.weights[w], w));
    }
  }
  // In the order of the files; what is not read in place comes last.
  std::ranges::stable_sort(sources, {}, [](const Source& source) {
    if (!source.in_place) return std::tuple<bool, const File*, std::uint64_t>(true, nullptr, 0);
    const auto& run = source.in_place->source;
    return std::tuple<bool, const File*, std::uint64_t>(false, run.file, run.offset);
  });
  StreamLayout layout;
  std::vector<StreamChunk>& chunks = layout.chunks;
  for (const Source& source : sources) {
    if (!source.in_place) {
      chunks.push_back(
          {.ring = {.bytes = source.form_bytes}, .weights = {{source.index, 0, 0, false}}});
      continue;
    }
    const auto& run = source.in_place->source;
    if (source.whole && !chunks.empty() && chunks.back().weights.back().whole &&
        joins(chunks.back(), source)) {
      StreamChunk& chunk = chunks.back();
      const std::size_t at = run.offset - chunk.offset;
      chunk.weights.push_back({source.index, at, run.bytes, true});
      chunk.in_place_bytes = chunk.ring.bytes = at + run.bytes;
      continue;
    }
    StreamChunk chunk{.ring = {.bytes = source.form_bytes, .phase = run.offset % kIoAlignment},
                      .file = run.file,
                      .offset = run.offset,
                      .in_place_bytes = run.bytes,
                      .weights = {{source.index, 0, run.bytes, source.whole}}};
    chunk.ring.follows = !chunks.empty() && follows(chunks.back(), chunk);
    chunks.push_back(std::move(chunk));
  }
  for (const StreamChunk& chunk : chunks) layout.ring.push_back(chunk.ring);
  return layout;
}

}  // namespace shoehorn
