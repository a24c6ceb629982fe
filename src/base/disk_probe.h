// How fast a drive reads, measured the way weights are streamed: large aligned reads, several in
// flight, past the page cache, into huge pages; and how fast the page cache gives back what is in
// it. The pages matter: on a virtio drive the same reads came at 2.9 GB/s into huge pages and
// at 1.3 into small ones (fio 3.33 alike: 2.8 with --iomem=mmaphuge, 1.3 without).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace shoehorn {

struct DiskProbeOptions {
  std::uint64_t max_bytes = std::uint64_t{3} << 30;  ///< read at most that much each way
  double max_seconds = 3.0;                          ///< and for at most that long
  std::size_t read_bytes = std::size_t{1} << 20;     ///< a read; a multiple of 4096
  /// 4 to 8 were fastest on that drive; 2 read half as fast, 32 a quarter slower.
  int reads_in_flight = 8;
  /// A smaller file is read again, past the page cache alone, until it was that many bytes.
  std::uint64_t least_bytes = 0;
  bool page_cache = true;  ///< false: leave the page cache unmeasured
  bool try_direct = true;  ///< false: read through the page cache, emptied of those bytes first
};

/// A measured rate, with what it was measured over.
struct DiskRate {
  std::uint64_t bytes = 0;
  double seconds = 0;
  double bytes_per_s() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

struct DiskProbe {
  DiskRate drive;       ///< from the drive
  bool direct = false;  ///< `drive` was read with O_DIRECT, else through the page cache
  DiskRate page_cache;  ///< the same way, of bytes that the page cache holds
  std::optional<DiskRate> write = std::nullopt;  ///< sequential, up to the end of fsync
  /// What makes the figures doubtful (little to read, O_DIRECT refused); empty if nothing does.
  std::string note;
};

/// Reads from a file, or from the files of a folder, without writing anything. The reading starts
/// at a random place and goes around, so that a second probe meets bytes that the storage behind a
/// virtual drive has not just seen. Afterwards up to 512 MiB of it are in the page cache. Throws
/// FileError where nothing of at least options.read_bytes can be read, ArgumentError for options
/// that make no sense.
DiskProbe probe_disk(const std::filesystem::path& file_or_folder,
                     const DiskProbeOptions& options = {});

/// For a folder with nothing to read: writes a nameless file of options.max_bytes there, measures
/// as above, and leaves nothing behind. Throws FileError where the drive has not twice that much
/// room.
DiskProbe probe_disk_by_writing(const std::filesystem::path& folder,
                                const DiskProbeOptions& options = {});

/// Seconds between asking another thread for a small read and having it: the median of some, one
/// after the other, past the page cache where the drive allows it. Throws as probe_disk does.
double measure_disk_latency(const std::filesystem::path& file_or_folder);

/// The drive's sequential read rate in bytes per second: probe_disk(...).drive over at most
/// `bytes`.
double measure_disk_read(const std::filesystem::path& file_or_folder, std::uint64_t bytes);

}  // namespace shoehorn
