#include "checkpoint/checkpoint.h"

#include <cassert>
#include <system_error>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/strided_read.h"

namespace shoehorn {

Checkpoint::Checkpoint(Parts parts) : parts_(std::move(parts)) {
  index_.reserve(parts_.tensors.size());
  for (std::size_t i = 0; i < parts_.tensors.size(); ++i) {
    const TensorInfo& info = parts_.tensors[i];
    assert(parts_.source != nullptr || info.file < parts_.files.size());
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
  if (info.strides.empty() || parts_.source != nullptr) return read_at(info, 0, out);
  const std::int64_t rows = info.shape.rank() < 2 ? 1 : info.shape[0];
  read_strided_rows(parts_.files[info.file], info, 0, rows, out);
}

void Checkpoint::read_at(const TensorInfo& info, std::uint64_t offset,
                         std::span<std::byte> out) const {
  assert(offset <= info.bytes && out.size() <= info.bytes - offset);
  if (parts_.source != nullptr) return parts_.source->read_at(info, offset, out);
  parts_.files[info.file].read_at(info.offset + offset, out);
}

void Checkpoint::drop_pages(const TensorInfo& info) const {
  if (parts_.source == nullptr) parts_.files[info.file].drop_pages(info.offset, info.bytes);
}

const std::filesystem::path& Checkpoint::path_of(const TensorInfo& info) const {
  return parts_.source != nullptr ? parts_.path : parts_.files[info.file].path();
}

std::string Checkpoint::identity_of(const TensorInfo& info) const {
  namespace fs = std::filesystem;
  if (parts_.source != nullptr) return parts_.source->identity(info);
  const File& file = parts_.files[info.file];
  std::error_code error;
  const fs::path absolute = fs::weakly_canonical(file.path(), error);
  const auto changed = fs::last_write_time(file.path(), error).time_since_epoch().count();
  return str_cat("file ", absolute.string(), "\nbytes ", file.size(), "\nchanged ", changed,
                 "\nat ", info.offset);
}

}  // namespace shoehorn
