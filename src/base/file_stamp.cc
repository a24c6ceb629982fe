#include "base/file_stamp.h"

#include <cerrno>
#include <cstring>

#include <sys/stat.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

FileStamp::FileStamp(const File& file) {
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) throw FileError(file.path(), std::strerror(errno));
  size_ = static_cast<std::uint64_t>(status.st_size);
  changed_ns_ =
      static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

std::string FileStamp::change(const File& file) const {
  const FileStamp now(file);
  if (now.size_ != size_) return str_cat("it has ", now.size_, " bytes and had ", size_);
  return now.changed_ns_ != changed_ns_ ? "it was written to" : "";
}

}  // namespace shoehorn
