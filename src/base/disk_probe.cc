#include "base/disk_probe.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <random>
#include <semaphore>
#include <thread>
#include <vector>

#include "shoehorn/error.h"

#include "base/file_reads.h"
#include "base/host_buffer.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

FileReads::Done finished(FileReads& reads) {
  FileReads::Done done = reads.wait();
  if (!done.error.empty()) {
    throw FileError(done.read.file->path(),
                    str_cat("at byte ", done.error_offset, ": ", done.error));
  }
  return done;
}

/// The number of whole reads in the file; throws FileError for none.
std::uint64_t whole_reads(const File& file, std::size_t read_bytes) {
  const std::uint64_t count = file.size() / read_bytes;
  if (count == 0) {
    throw FileError(file.path(), str_cat("expected at least ", read_bytes,
                                         " bytes to measure the drive with, found ", file.size()));
  }
  return count;
}

std::uint64_t random_below(std::uint64_t count) {
  std::random_device random;
  return std::uniform_int_distribution<std::uint64_t>(0, count - 1)(random);
}

}  // namespace

DiskRate time_reads(const File& file, const IoMode& io, const TimedReads& what) {
  HostBuffer memory(io.read_bytes * static_cast<std::size_t>(io.reads_in_flight));
  std::ranges::fill(memory.bytes(), std::byte{1});  // page faults are not the drive's
  FileReads reads(io);
  if (!reads.is_direct(file)) file.drop_pages(what.begin, what.end - what.begin);
  std::vector<std::size_t> free;
  for (int i = 0; i < io.reads_in_flight; ++i) free.push_back(static_cast<std::size_t>(i));
  DiskRate rate;
  std::uint64_t at = what.first;
  std::uint64_t asked = 0;
  const auto start = Clock::now();
  const auto goes_on = [&] {
    return asked + io.read_bytes <= what.bytes && seconds_since(start) < what.max_seconds;
  };
  for (;;) {
    while (!free.empty() && goes_on()) {
      if (at + io.read_bytes > what.end) at = what.begin;
      reads.start({.file = &file,
                   .offset = at,
                   .bytes = io.read_bytes,
                   .out = memory.data() + free.back() * io.read_bytes,
                   .tag = free.back()});
      free.pop_back();
      at += io.read_bytes;
      asked += io.read_bytes;
    }
    if (reads.in_flight() == 0) break;
    free.push_back(finished(reads).read.tag);
    rate.bytes += io.read_bytes;
  }
  rate.seconds = seconds_since(start);
  return rate;
}

DiskRate measure_disk_read(const File& file, const IoMode& mode, const DiskProbeOptions& options) {
  IoMode io = mode;
  io.read_bytes = std::min<std::size_t>(
      io.read_bytes, whole_reads(file, kIoAlignment) * kIoAlignment);  // all of a small file
  const std::uint64_t count = whole_reads(file, io.read_bytes);
  const std::uint64_t all = count * io.read_bytes;
  const std::uint64_t bytes = std::max(std::min(all, options.max_bytes), options.least_bytes);
  return time_reads(file, io,
                    {.end = all,
                     .first = random_below(count) * io.read_bytes,
                     .bytes = (bytes + io.read_bytes - 1) / io.read_bytes * io.read_bytes,
                     .max_seconds = options.max_seconds});
}

double measure_disk_latency(const File& file, const IoMode& io) {
  constexpr std::size_t kReadBytes = std::size_t{16} << 10;
  constexpr std::size_t kReads = 25;
  const std::uint64_t count = whole_reads(file, kReadBytes);
  HostBuffer memory(kReadBytes);
  // As a stream does it: one thread asks, another reads.
  std::binary_semaphore asked(0);
  std::binary_semaphore done(0);
  std::exception_ptr error;
  std::thread reader([&] {
    FileReads reads(io);
    if (!reads.is_direct(file)) file.drop_pages(0, file.size());
    for (std::size_t i = 0; i < kReads; ++i) {
      asked.acquire();
      try {
        if (error == nullptr) {
          reads.start({.file = &file,
                       .offset = random_below(count) * kReadBytes,
                       .bytes = kReadBytes,
                       .out = memory.data()});
          finished(reads);
        }
      } catch (...) {
        error = std::current_exception();
      }
      done.release();
    }
  });
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kReads; ++i) {
    const auto start = Clock::now();
    asked.release();
    done.acquire();
    seconds.push_back(seconds_since(start));
  }
  reader.join();
  if (error != nullptr) std::rethrow_exception(error);
  const auto middle = seconds.begin() + kReads / 2;
  std::ranges::nth_element(seconds, middle);
  return *middle;
}

}  // namespace shoehorn
