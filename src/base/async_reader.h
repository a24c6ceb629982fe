// Reads of files with several in flight, in any order of completion: by io_uring, or by a pool of
// threads where the kernel does not permit that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shoehorn {

/// What direct reads ask of file offsets, lengths and addresses: every drive's logical block.
inline constexpr std::size_t kIoAlignment = 4096;

/// How a drive is read.
struct IoMode {
  bool uring = true;   ///< else a thread for each read in flight
  bool direct = true;  ///< past the page cache (O_DIRECT); else through it, and dropped behind
  std::size_t read_bytes = std::size_t{2} << 20;  ///< of one read; a multiple of kIoAlignment
  int reads_in_flight = 8;

  friend bool operator==(const IoMode&, const IoMode&) = default;
};

/// "uring-direct", "uring-buffered", "pread-direct", "pread-buffered".
std::string path_name(const IoMode& mode);
/// Sets `mode`'s path by its name; false for any other text.
bool set_path(IoMode& mode, std::string_view name);
/// The path that SHOEHORN_IO forces; nothing where it is not set. Throws ArgumentError for a name
/// that is none.
std::optional<IoMode> forced_io_mode();

struct ReadRequest {
  int fd = -1;
  std::uint64_t offset = 0;
  std::span<std::byte> out;
  std::size_t tag = 0;  // comes back with the result
};

struct ReadResult {
  std::size_t tag = 0;
  std::int64_t bytes = 0;  // as pread returns them: fewer than asked are no error; -errno
};

/// Not thread-safe: one thread starts reads and waits for them. Tests put faulty ones in its place.
class AsyncReader {
 public:
  virtual ~AsyncReader() = default;
  /// Starts a read; at most as many as it was made for are in flight.
  virtual void start(const ReadRequest& request) = 0;
  /// Waits until a read that was started is over.
  virtual ReadResult wait() = 0;
};

/// Null where the kernel refuses io_uring, or this build has none.
std::unique_ptr<AsyncReader> make_uring_reader(int reads_in_flight);
std::unique_ptr<AsyncReader> make_thread_reader(int reads_in_flight);
/// By the mode; threads where io_uring is not to be had.
std::unique_ptr<AsyncReader> make_reader(const IoMode& mode);

}  // namespace shoehorn
