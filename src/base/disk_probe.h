// How fast a drive reads, measured by the reads that stream weights: large and aligned, several in
// flight, past the page cache, into huge pages. The pages matter: on a virtio drive the same reads
// came at 2.9 GB/s into huge pages and at 1.3 into small ones (fio 3.33 alike: 2.8 with
// --iomem=mmaphuge, 1.3 without).
#pragma once

#include <cstdint>

#include "base/async_reader.h"
#include "base/file.h"

namespace shoehorn {

/// A measured rate, with what it was measured over.
struct DiskRate {
  std::uint64_t bytes = 0;
  double seconds = 0;
  double bytes_per_s() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

/// What of a file is read, and for how long.
struct TimedReads {
  std::uint64_t begin = 0;  ///< a multiple of kIoAlignment
  std::uint64_t end = 0;
  std::uint64_t first = 0;   ///< in [begin, end): reading starts here and goes around
  std::uint64_t bytes = 0;   ///< read at most that many,
  double max_seconds = 3.0;  ///< and for at most that long
};

/// Whole reads of io.read_bytes each; the page cache is emptied of the range where it is read
/// through: as io says, or because direct reads are refused. Throws FileError, at the byte that
/// could not be read.
DiskRate time_reads(const File& file, const IoMode& io, const TimedReads& what);

struct DiskProbeOptions {
  std::uint64_t max_bytes = std::uint64_t{3} << 30;
  double max_seconds = 3.0;
  /// A smaller file is read again until it was that many bytes.
  std::uint64_t least_bytes = 0;
};

/// The rate of the file's drive. Starts at a random place, so that a second probe meets bytes that
/// the storage behind a virtual drive has not just seen; a file smaller than a read is one. Throws
/// FileError where nothing of at least kIoAlignment can be read.
DiskRate measure_disk_read(const File& file, const IoMode& mode,
                           const DiskProbeOptions& options = {});

/// Seconds between asking another thread for a small read and having it: the median of some, one
/// after the other. Throws as measure_disk_read() does.
double measure_disk_latency(const File& file, const IoMode& io);

}  // namespace shoehorn
