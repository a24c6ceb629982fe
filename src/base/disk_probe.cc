#include "base/disk_probe.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <latch>
#include <memory>
#include <random>
#include <semaphore>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/host_buffer.h"
#include "base/machine.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kAlignment = 4096;  // satisfies every drive's logical blocks
constexpr std::uint64_t kPageCacheBytes = std::uint64_t{512} << 20;
// Below this, starting up and the drive's own cache weigh more than its rate.
constexpr std::uint64_t kEnoughBytes = std::uint64_t{256} << 20;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

// One read: options.read_bytes from `offset` of `file`.
struct Piece {
  const File* file;
  std::uint64_t offset;
};

std::vector<File> open_files(const fs::path& file_or_folder) {
  std::vector<File> files;
  std::error_code error;
  if (!fs::is_directory(file_or_folder, error)) {
    files.emplace_back(file_or_folder);
    return files;
  }
  std::vector<fs::path> paths;
  for (fs::directory_iterator it(file_or_folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) paths.push_back(it->path());  // through links too
  }
  if (error) throw FileError(file_or_folder, error.message());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    try {
      files.emplace_back(path);
    } catch (const FileError&) {
      // Gone or not ours to read: the others tell the drive's rate as well.
    }
  }
  return files;
}

// Whole reads, in the order of the files, from a random one on and around.
std::vector<Piece> pieces_of(const std::vector<File>& files, const DiskProbeOptions& options) {
  std::vector<Piece> pieces;
  for (const File& file : files) {
    for (std::uint64_t i = 0; i < file.size() / options.read_bytes; ++i) {
      pieces.push_back({&file, i * options.read_bytes});
    }
  }
  if (pieces.empty()) return pieces;
  const std::size_t start = std::random_device()() % pieces.size();
  std::rotate(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(start), pieces.end());
  const std::uint64_t wanted = std::max<std::uint64_t>(1, options.max_bytes / options.read_bytes);
  if (pieces.size() > wanted) pieces.resize(wanted);
  return pieces;
}

// False where the file system refuses.
bool set_direct(const std::vector<File>& files, bool direct) {
  return std::all_of(files.begin(), files.end(), [&](const File& file) {
    const int flags = ::fcntl(file.fd(), F_GETFL);
    const int wanted = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    return flags >= 0 && ::fcntl(file.fd(), F_SETFL, wanted) == 0;
  });
}

void drop_from_page_cache(const std::vector<Piece>& pieces, std::size_t read_bytes) {
  for (const Piece& piece : pieces) {
    piece.file->drop_pages(piece.offset, read_bytes);
  }
}

// 0, or errno.
int read_piece(const Piece& piece, std::span<std::byte> buffer) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t got = ::pread(piece.file->fd(), buffer.data() + filled, buffer.size() - filled,
                                static_cast<off_t>(piece.offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return EIO;  // truncated since it was opened
    filled += static_cast<std::size_t>(got);
  }
  return 0;
}

// Reads pieces with `threads` threads until they are through `passes` times or time is up.
class Reader {
 public:
  Reader(const std::vector<Piece>& pieces, std::size_t read_bytes, int threads, double max_seconds,
         std::size_t passes)
      : pieces_(pieces),
        read_bytes_(read_bytes),
        threads_(threads),
        max_seconds_(max_seconds),
        reads_(pieces.size() * passes),
        // Each thread has its own buffer, aligned for O_DIRECT.
        memory_(static_cast<std::size_t>(threads) * read_bytes + kAlignment) {
    void* aligned = memory_.data();
    std::size_t room = memory_.size();
    std::align(kAlignment, static_cast<std::size_t>(threads) * read_bytes, aligned, room);
    buffers_ = static_cast<std::byte*>(aligned);
    // Page faults are not the drive's.
    std::memset(buffers_, 0, static_cast<std::size_t>(threads) * read_bytes);
  }

  /// The errno that stopped it, if one did.
  int error() const { return error_; }
  const Piece* failed() const { return failed_; }

  DiskRate run() {
    std::latch ready(threads_ + 1);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < threads_; ++thread) {
      threads.emplace_back([this, thread, &ready] {
        ready.arrive_and_wait();
        work({buffers_ + static_cast<std::size_t>(thread) * read_bytes_, read_bytes_});
      });
    }
    const Clock::time_point start = Clock::now();
    deadline_ = start + std::chrono::duration_cast<Clock::duration>(
                            std::chrono::duration<double>(max_seconds_));
    ready.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    const double seconds = seconds_between(start, Clock::now());
    return {.bytes = done_.load() * read_bytes_, .seconds = seconds};
  }

 private:
  void work(std::span<std::byte> buffer) {
    while (Clock::now() < deadline_ && error_.load() == 0) {
      const std::size_t i = next_.fetch_add(1);
      if (i >= reads_) return;
      const Piece& piece = pieces_[i % pieces_.size()];
      if (const int error = read_piece(piece, buffer); error != 0) {
        int none = 0;
        if (error_.compare_exchange_strong(none, error)) failed_ = &piece;
        return;
      }
      done_.fetch_add(1);
    }
  }

  const std::vector<Piece>& pieces_;
  const std::size_t read_bytes_;
  const int threads_;
  const double max_seconds_;
  const std::size_t reads_;
  HostBuffer memory_;
  std::byte* buffers_ = nullptr;
  Clock::time_point deadline_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<int> error_{0};
  const Piece* failed_ = nullptr;  // written once, read after the threads have ended
};

DiskRate read_or_throw(Reader& reader) {
  const DiskRate rate = reader.run();
  if (reader.error() != 0) {
    throw FileError(reader.failed()->file->path(),
                    str_cat("cannot read at byte ", reader.failed()->offset, ": ",
                            std::strerror(reader.error())));
  }
  return rate;
}

void check_options(const DiskProbeOptions& options) {
  if (options.read_bytes == 0 || options.read_bytes % kAlignment != 0) {
    throw ArgumentError(str_cat("a disk probe reads multiples of ", kAlignment, " bytes, not ",
                                options.read_bytes));
  }
  if (options.reads_in_flight < 1 || options.reads_in_flight > 256) {
    throw ArgumentError(
        str_cat("a disk probe keeps 1 to 256 reads in flight, not ", options.reads_in_flight));
  }
  if (!(options.max_seconds > 0)) throw ArgumentError("a disk probe needs time to read");
}

void measure_drive(const std::vector<File>& files, const std::vector<Piece>& pieces,
                   const DiskProbeOptions& options, DiskProbe& probe) {
  const auto reader = [&](std::size_t passes) {
    return Reader(pieces, options.read_bytes, options.reads_in_flight, options.max_seconds, passes);
  };
  if (options.try_direct && set_direct(files, true)) {
    const std::uint64_t all = pieces.size() * options.read_bytes;
    Reader direct = reader(std::max<std::uint64_t>(1, (options.least_bytes + all - 1) / all));
    probe.drive = direct.run();
    probe.direct = direct.error() == 0;
    // Some file systems accept the flag and refuse the reads.
    if (!probe.direct && direct.error() != EINVAL) read_or_throw(direct);
  }
  set_direct(files, false);
  if (probe.direct) return;
  drop_from_page_cache(pieces, options.read_bytes);
  Reader buffered = reader(1);
  probe.drive = read_or_throw(buffered);
  if (options.try_direct) {
    probe.note = "O_DIRECT is refused here: read through an emptied page cache instead";
  }
}

void measure_page_cache(const std::vector<Piece>& pieces, const DiskProbeOptions& options,
                        DiskProbe& probe) {
  const std::size_t kept = std::max<std::uint64_t>(1, kPageCacheBytes / options.read_bytes);
  const std::vector<Piece> warm(
      pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(std::min(kept, pieces.size())));
  Reader first(warm, options.read_bytes, options.reads_in_flight, options.max_seconds,
               /*passes=*/1);
  read_or_throw(first);
  // Copying is the processors' work: as many threads as there are of those.
  const std::uint64_t bytes_a_pass = warm.size() * options.read_bytes;
  const std::size_t passes = std::max<std::uint64_t>(1, options.max_bytes / bytes_a_pass);
  Reader again(warm, options.read_bytes, usable_processors(), options.max_seconds, passes);
  probe.page_cache = read_or_throw(again);
}

}  // namespace

DiskProbe probe_disk(const fs::path& file_or_folder, const DiskProbeOptions& options) {
  check_options(options);
  const std::vector<File> files = open_files(file_or_folder);
  const std::vector<Piece> pieces = pieces_of(files, options);
  if (pieces.empty()) {
    throw FileError(file_or_folder, str_cat("expected a file of at least ", options.read_bytes,
                                            " bytes to measure the drive with, found none"));
  }
  DiskProbe probe;
  measure_drive(files, pieces, options, probe);
  if (options.page_cache) measure_page_cache(pieces, options, probe);
  if (pieces.size() * options.read_bytes < std::min(kEnoughBytes, options.max_bytes)) {
    if (!probe.note.empty()) probe.note += "; ";
    probe.note += str_cat("only ", pieces.size() * options.read_bytes >> 20, " MiB to read");
  }
  return probe;
}

DiskProbe probe_disk_by_writing(const fs::path& folder, const DiskProbeOptions& options) {
  check_options(options);
  struct statvfs room {};
  if (::statvfs(folder.c_str(), &room) != 0) throw FileError(folder, std::strerror(errno));
  const std::uint64_t pieces = std::max<std::uint64_t>(1, options.max_bytes / options.read_bytes);
  const std::uint64_t bytes = pieces * options.read_bytes;
  if (static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize / 2 < bytes) {
    throw FileError(folder, str_cat("expected room for twice ", bytes, " bytes, found ",
                                    static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize));
  }
  std::string name = (folder / ".shoehorn-probe-XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  if (fd < 0) throw FileError(folder, str_cat("cannot write here: ", std::strerror(errno)));
  ::unlink(name.c_str());  // gone with its descriptor, whatever happens
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd,
                                                                [](const int* p) { ::close(*p); });

  // Noise, since some drives compress.
  std::vector<std::uint64_t> noise(options.read_bytes / sizeof(std::uint64_t));
  std::mt19937_64 random(std::random_device{}());
  std::generate(noise.begin(), noise.end(), [&] { return random(); });
  DiskRate write;
  const Clock::time_point start = Clock::now();
  for (std::uint64_t i = 0; i < pieces; ++i) {
    // Differs from block to block too: some drives store equal blocks once.
    for (std::size_t word = 0; word < noise.size(); word += kAlignment / sizeof(noise[0])) {
      noise[word] = i;
    }
    if (::write(fd, noise.data(), options.read_bytes) != static_cast<ssize_t>(options.read_bytes)) {
      throw FileError(folder, str_cat("cannot write a probe file: ", std::strerror(errno)));
    }
    write.bytes += options.read_bytes;
    if (seconds_between(start, Clock::now()) > 2 * options.max_seconds) break;
  }
  if (::fsync(fd) != 0) throw FileError(folder, str_cat("fsync: ", std::strerror(errno)));
  write.seconds = seconds_between(start, Clock::now());

  DiskProbe probe = probe_disk(str_cat("/proc/self/fd/", fd), options);
  probe.write = write;
  return probe;
}

double measure_disk_latency(const fs::path& file_or_folder) {
  constexpr std::size_t kReadBytes = std::size_t{16} << 10;
  constexpr std::size_t kReads = 25;
  const std::vector<File> files = open_files(file_or_folder);
  const std::vector<Piece> pieces =
      pieces_of(files, {.max_bytes = kReads * kReadBytes, .read_bytes = kReadBytes});
  if (pieces.empty()) throw FileError(file_or_folder, "too small to measure the drive with");
  const bool direct = set_direct(files, true);
  if (!direct) set_direct(files, false);
  if (!direct) drop_from_page_cache(pieces, kReadBytes);
  HostBuffer memory(kReadBytes + kAlignment);
  void* aligned = memory.data();
  std::size_t room = memory.size();
  std::align(kAlignment, kReadBytes, aligned, room);
  std::memset(aligned, 0, kReadBytes);

  // As a stream does it: one thread asks, another reads.
  std::binary_semaphore asked(0);
  std::binary_semaphore done(0);
  int error = 0;
  std::thread reader([&] {
    for (const Piece& piece : pieces) {
      asked.acquire();
      if (error == 0) error = read_piece(piece, {static_cast<std::byte*>(aligned), kReadBytes});
      done.release();
    }
  });
  std::vector<double> seconds;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Clock::time_point start = Clock::now();
    asked.release();
    done.acquire();
    seconds.push_back(seconds_between(start, Clock::now()));
  }
  reader.join();
  if (error != 0) throw FileError(file_or_folder, std::strerror(error));
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  return *middle;
}

double measure_disk_read(const fs::path& file_or_folder, std::uint64_t bytes) {
  return probe_disk(file_or_folder, {.max_bytes = bytes}).drive.bytes_per_s();
}

}  // namespace shoehorn
