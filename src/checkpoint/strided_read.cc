#include "checkpoint/strided_read.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kRunBytes = std::int64_t{1} << 20;  // of the file, read at once

struct Axis {
  std::int64_t size;
  std::int64_t stride;  // in the file, in elements
  std::int64_t packed;  // in the output, in elements
};

/// The dimensions of the rows that are read, single elements left out.
std::vector<Axis> axes_of(const TensorInfo& info, std::int64_t count) {
  std::vector<Axis> axes;
  std::int64_t packed = 1;
  for (std::size_t i = info.shape.rank(); i-- > 0;) {
    const bool is_rows = i == 0 && info.shape.rank() >= 2;
    const std::int64_t size = is_rows ? count : info.shape[static_cast<int>(i)];
    if (size != 1) axes.push_back({size, info.strides[i], packed});
    packed *= size;
  }
  return axes;
}

/// One line of values along `run`.
void read_run(const File& file, const Axis& run, std::size_t item, std::uint64_t from,
              std::byte* to, std::vector<std::byte>& scratch) {
  const std::int64_t step = std::max<std::int64_t>(run.stride, 1) * static_cast<std::int64_t>(item);
  const std::int64_t most = std::max<std::int64_t>(kRunBytes / step, 1);
  for (std::int64_t done = 0; done < run.size; done += most) {
    const std::int64_t now = std::min(most, run.size - done);
    const std::int64_t distinct = run.stride == 0 ? 1 : now;
    const auto bytes = static_cast<std::size_t>((distinct - 1) * step) + item;
    const std::uint64_t at = from + static_cast<std::uint64_t>(done * run.stride) * item;
    std::byte* const out = to + static_cast<std::size_t>(done * run.packed) * item;
    if (run.stride == 1 && run.packed == 1) {
      file.read_at(at, {out, bytes});
      continue;
    }
    scratch.resize(bytes);
    file.read_at(at, scratch);
    for (std::int64_t i = 0; i < now; ++i) {
      std::memcpy(out + static_cast<std::size_t>(i * run.packed) * item,
                  scratch.data() + static_cast<std::size_t>(i * run.stride) * item, item);
    }
  }
}

}  // namespace

void read_strided_rows(const File& file, const TensorInfo& info, std::int64_t first,
                       std::int64_t count, std::span<std::byte> out) {
  if (out.empty()) return;
  // A block holds a run of a stored row: GPT-2's matrices in GGUF files are read as stored, [out,
  // in], and nobody asks for rows of the other way round.
  if (is_block(info.dtype)) {
    throw UnsupportedError(str_cat(file.path().string(), ": tensor ", info.name, " is stored as ",
                                   to_string(info.dtype),
                                   " blocks along another dimension than its rows"));
  }
  const std::size_t item = dtype_info(info.dtype).block_bytes;
  std::vector<Axis> axes = axes_of(info, count);
  if (axes.empty()) axes.push_back({1, 1, 1});
  const auto densest = std::ranges::min_element(
      axes, {}, [](const Axis& axis) { return axis.stride == 0 ? INT64_MAX : axis.stride; });
  std::iter_swap(axes.begin(), densest);
  const Axis run = axes.front();
  const bool has_rows = info.shape.rank() >= 2;
  const std::int64_t start = has_rows ? first * info.strides[0] : 0;
  std::vector<std::byte> scratch;
  std::array<std::int64_t, Shape::kMaxRank> index{};  // of axes[1] and on
  std::int64_t from = start;                          // elements
  std::int64_t to = 0;
  while (true) {
    read_run(file, run, item, info.offset + static_cast<std::uint64_t>(from) * item,
             out.data() + static_cast<std::size_t>(to) * item, scratch);
    std::size_t axis = 1;
    for (; axis < axes.size(); ++axis) {
      from += axes[axis].stride;
      to += axes[axis].packed;
      if (++index[axis] < axes[axis].size) break;
      from -= axes[axis].stride * axes[axis].size;
      to -= axes[axis].packed * axes[axis].size;
      index[axis] = 0;
    }
    if (axis == axes.size()) return;
  }
}

}  // namespace shoehorn
