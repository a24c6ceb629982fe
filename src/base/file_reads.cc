#include "base/file_reads.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str_cat.h"

namespace shoehorn {
namespace {

std::uint64_t rounded_down(std::uint64_t offset) {
  return offset / kIoAlignment * kIoAlignment;
}

/// The file that `file` has open, once more and for direct reads; -1 where that is refused.
int open_direct(const File& file) {
  // Through its descriptor, since its name may lead to another file by now.
  const std::string self = str_cat("/proc/self/fd/", file.fd());
  int fd = ::open(self.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd < 0) fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT | O_NONBLOCK);
  if (fd < 0) return -1;
  struct stat mine {};
  struct stat its {};
  if (::fstat(fd, &mine) == 0 && ::fstat(file.fd(), &its) == 0 && mine.st_dev == its.st_dev &&
      mine.st_ino == its.st_ino) {
    return fd;
  }
  ::close(fd);
  return -1;
}

}  // namespace

FileReads::FileReads(const IoMode& mode, const ReaderFactory& make)
    : mode_(mode),
      reader_(make ? make(mode) : make_reader(mode)),
      flights_(static_cast<std::size_t>(std::max(mode.reads_in_flight, 1))) {
  for (std::size_t i = flights_.size(); i > 0; --i) free_.push_back(i - 1);
}

FileReads::~FileReads() {
  while (in_flight() > 0) free_.push_back(reader_->wait().tag);
  reader_.reset();
  for (const auto& [file, opened] : files_) {
    if (opened.direct >= 0) ::close(opened.direct);
  }
}

FileReads::Opened& FileReads::opened(const File& file) {
  const auto [at, is_new] = files_.try_emplace(&file);
  if (is_new && mode_.direct) at->second.direct = open_direct(file);
  return at->second;
}

bool FileReads::is_direct(const File& file) {
  const Opened& found = opened(file);
  return found.direct >= 0 && !found.refused;
}

void FileReads::start(const Read& read) {
  const std::size_t slot = free_.back();
  free_.pop_back();
  Flight& flight = flights_[slot];
  flight.read = read;
  flight.direct = is_direct(*read.file);
  flight.end = read.offset + read.bytes;
  flight.begin = flight.at = flight.direct ? rounded_down(read.offset) : read.offset;
  if (flight.direct) flight.end = rounded_down(flight.end + kIoAlignment - 1);
  ask(slot);
}

void FileReads::ask(std::size_t slot) {
  const Flight& flight = flights_[slot];
  const File& file = *flight.read.file;
  // The address of `at` lies before `out` where the run was widened.
  std::byte* const out = flight.read.out + (static_cast<std::ptrdiff_t>(flight.at) -
                                            static_cast<std::ptrdiff_t>(flight.read.offset));
  reader_->start({.fd = flight.direct ? files_.at(&file).direct : file.fd(),
                  .offset = flight.at,
                  .out = {out, static_cast<std::size_t>(flight.end - flight.at)},
                  .tag = slot});
}

bool FileReads::go_on(std::size_t slot, std::int64_t result, Done& done) {
  Flight& flight = flights_[slot];
  if (result == -EINTR || result == -EAGAIN) return true;
  if (result == -EINVAL && flight.direct) {
    // Some file systems accept the flag and refuse the reads.
    files_.at(flight.read.file).refused = true;
    flight.direct = false;
    return true;
  }
  if (result < 0) {
    done.error = std::strerror(static_cast<int>(-result));
    done.error_offset = flight.at;
    return false;
  }
  const std::uint64_t wanted = flight.read.offset + flight.read.bytes;
  if (result == 0 && flight.at < wanted) {
    done.error = "the file ends there; was it truncated after it was opened?";
    done.error_offset = flight.at;
    return false;
  }
  flight.at = std::min(flight.at + static_cast<std::uint64_t>(result), flight.end);
  if (flight.at >= wanted) return false;
  // A direct read that ended within a block is gone on with through the page cache: at the end of
  // a file it would come back empty from the block's beginning for ever.
  if (flight.direct && flight.at % kIoAlignment != 0) flight.direct = false;
  if (!flight.direct) flight.end = wanted;
  return true;
}

FileReads::Done FileReads::wait() {
  for (;;) {
    const ReadResult result = reader_->wait();
    Done done;
    if (go_on(result.tag, result.bytes, done)) {
      ask(result.tag);
      continue;
    }
    const Flight& flight = flights_[result.tag];
    done.read = flight.read;
    if (!flight.direct) {
      // Its pages would count against the limit of a control group.
      const std::uint64_t begin = rounded_down(flight.begin);
      flight.read.file->drop_pages(begin, flight.at - begin);
    }
    free_.push_back(result.tag);
    return done;
  }
}

}  // namespace shoehorn
