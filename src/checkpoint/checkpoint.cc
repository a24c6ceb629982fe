#include "checkpoint/checkpoint.h"

#include <cassert>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/strided_read.h"

namespace shoehorn {

Checkpoint::Checkpoint(Parts parts) : parts_(std::move(parts)) {
  index_.reserve(parts_.tensors.size());
  for (std::size_t i = 0; i < parts_.tensors.size(); ++i) {
    const TensorInfo& info = parts_.tensors[i];
    assert(info.file < parts_.files.size());
    const bool is_new = index_.emplace(info.name, i).second;
    if (!is_new) throw FormatError(parts_.path, str_cat("two tensors are named ", info.name));
  }
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &parts_.tensors[found->second];
}

const TensorInfo& Checkpoint::at(std::string_view name) const {
  if (const TensorInfo* info = find(name)) return *info;
  throw FormatError(parts_.path, str_cat("has no tensor ", name, " among its ",
                                         parts_.tensors.size(), " tensors"));
}

void Checkpoint::read(const TensorInfo& info, std::span<std::byte> out) const {
  assert(out.size() == info.bytes);
  if (info.strides.empty()) {
    parts_.files[info.file].read_at(info.offset, out);
  } else {
    const std::int64_t rows = info.shape.rank() < 2 ? 1 : info.shape[0];
    read_strided_rows(parts_.files[info.file], info, 0, rows, out);
  }
}

}  // namespace shoehorn
