// Runs of files read whole, several at a time: widened to what direct reads ask for, gone on with
// where a read came back short, dropped from the page cache where they went through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async_reader.h"
#include "base/file.h"

namespace shoehorn {

/// Makes the reader below; tests put faulty ones in.
using ReaderFactory = std::function<std::unique_ptr<AsyncReader>(const IoMode&)>;

/// Not thread-safe. The files outlive it.
class FileReads {
 public:
  explicit FileReads(const IoMode& mode, const ReaderFactory& make = make_reader);
  /// Waits for what is in flight.
  ~FileReads();
  FileReads(const FileReads&) = delete;
  FileReads& operator=(const FileReads&) = delete;

  struct Read {
    const File* file = nullptr;
    std::uint64_t offset = 0;
    std::size_t bytes = 0;
    /// Where the first byte goes: an address that is `offset` modulo kIoAlignment. All of the
    /// blocks of that size that the run touches may be written.
    std::byte* out = nullptr;
    std::size_t tag = 0;  // comes back with it
  };
  struct Done {
    Read read;
    std::string error = {};          // empty: all bytes are there
    std::uint64_t error_offset = 0;  // in the file
  };

  /// False where the file is read through the page cache, as far as its drive has said so.
  bool is_direct(const File& file);

  bool full() const { return free_.empty(); }
  std::size_t in_flight() const { return flights_.size() - free_.size(); }
  /// Only while it is not full.
  void start(const Read& read);
  /// Waits until a read is over; one is in flight.
  Done wait();

  const IoMode& mode() const { return mode_; }

 private:
  /// A descriptor of the file for direct reads; -1: it is read through the page cache.
  struct Opened {
    int direct = -1;
    bool refused = false;  // accepted when it was opened, refused when it was read
  };
  struct Flight {
    Read read;
    std::uint64_t begin = 0;  // of what is asked, widened
    std::uint64_t end = 0;
    std::uint64_t at = 0;  // read up to here
    bool direct = false;
  };

  Opened& opened(const File& file);
  void ask(std::size_t slot);
  /// True if the flight goes on.
  bool go_on(std::size_t slot, std::int64_t result, Done& done);

  IoMode mode_;
  std::unique_ptr<AsyncReader> reader_;
  std::map<const File*, Opened> files_;
  std::vector<Flight> flights_;
  std::vector<std::size_t> free_;
};

}  // namespace shoehorn
