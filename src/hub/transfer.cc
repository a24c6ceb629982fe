#include "hub/transfer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::hub {
namespace {

namespace fs = std::filesystem;

bool is_hex(const std::string& text, std::size_t digits) {
  return text.size() == digits && std::ranges::all_of(text, [](unsigned char c) {
           return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f');
         });
}

/// The hash that an ETag names: SHA-256 of large files; SHA-1 of git's blobs, which begin with
/// their size. Null where it names none.
std::unique_ptr<BlockHash> hash_for(const FileFacts& facts) {
  if (is_hex(facts.etag, 64)) return std::make_unique<Sha256>();
  if (!is_hex(facts.etag, 40) || !facts.size) return nullptr;
  auto hash = std::make_unique<Sha1>();
  const std::string header = str_cat("blob ", *facts.size);
  // With the NUL behind it.
  hash->update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
  return hash;
}

/// What came so far of a blob.
class Incomplete {
 public:
  explicit Incomplete(const fs::path& path) : path_(path) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0644);
    if (fd_ < 0) fail("cannot be written");
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail("cannot be examined");
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~Incomplete() { ::close(fd_); }
  Incomplete(const Incomplete&) = delete;
  Incomplete& operator=(const Incomplete&) = delete;

  std::uint64_t size() const { return size_; }

  void clear() {
    if (::ftruncate(fd_, 0) != 0) fail("cannot be truncated");
    size_ = 0;
  }

  void append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("cannot be written");
      size_ += static_cast<std::uint64_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  std::string digest(BlockHash& hash) const {
    std::vector<std::byte> buffer(1U << 20);
    for (std::uint64_t at = 0; at < size_;) {
      const ssize_t got = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail("cannot be read back");
      hash.update(std::span(buffer).first(static_cast<std::size_t>(got)));
      at += static_cast<std::uint64_t>(got);
    }
    return hash.hex_digest();
  }

  void take_name(const fs::path& name) const {
    if (::fsync(fd_) != 0) fail("cannot be written");
    std::error_code error;
    fs::rename(path_, name, error);
    if (error) throw FileError(name, "cannot be created: " + error.message());
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw FileError(path_, str_cat(what, ": ", std::strerror(errno)));
  }

  fs::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// Why what came is not what was named; empty where it is.
std::string difference(const Incomplete& came, const FileFacts& facts) {
  if (facts.size && came.size() != *facts.size) {
    return str_cat("has ", came.size(), " bytes, not the ", *facts.size, " that the hub names");
  }
  const auto hash = hash_for(facts);
  if (hash == nullptr) return "";
  const std::string digest = came.digest(*hash);
  if (digest == facts.etag) return "";
  return str_cat("has the hash ", digest, ", not ", facts.etag, " as the hub names");
}

bool is_there(const fs::path& blob, const FileFacts& facts) {
  std::error_code error;
  const auto size = fs::file_size(blob, error);
  return !error && (!facts.size || size == *facts.size);
}

}  // namespace

std::uint64_t transfer(const Client& client, const CachedModel& cache, const std::string& commit,
                       const std::string& file, const FileFacts& facts,
                       const std::function<void(std::int64_t)>& on_bytes) {
  const auto link_there = [&] {
    on_bytes(static_cast<std::int64_t>(fs::file_size(cache.blob(facts.etag))));
    cache.link(commit, file, facts.etag);
  };
  if (is_there(cache.blob(facts.etag), facts)) {
    link_there();
    return 0;
  }
  const FileLock lock(cache.lock(facts.etag));
  // Another process may have brought it meanwhile.
  if (is_there(cache.blob(facts.etag), facts)) {
    link_there();
    return 0;
  }
  Incomplete came(cache.incomplete(facts.etag));
  std::uint64_t network_bytes = 0;
  on_bytes(static_cast<std::int64_t>(came.size()));
  const auto restart = [&] {
    on_bytes(-static_cast<std::int64_t>(came.size()));
    came.clear();
  };
  for (int attempt = 0;; ++attempt) {
    if (!facts.size || came.size() < *facts.size) {
      client.fetch(
          commit, file, [&] { return came.size(); }, restart,
          [&](std::span<const std::byte> bytes) {
            if (facts.size && bytes.size() > *facts.size - came.size()) {
              throw FormatError(str_cat(printable(file), ": the server sends more than the ",
                                        *facts.size, " bytes that it names"));
            }
            came.append(bytes);
            network_bytes += bytes.size();
            on_bytes(static_cast<std::int64_t>(bytes.size()));
          });
    }
    const std::string wrong = difference(came, facts);
    if (wrong.empty()) break;
    // What an earlier try left may be to blame; a second difference is the server's.
    restart();
    if (attempt > 0) {
      throw FormatError(
          str_cat(printable(file), ": what the server sends ", wrong, ", twice; it was deleted"));
    }
  }
  came.take_name(cache.blob(facts.etag));
  cache.link(commit, file, facts.etag);
  return network_bytes;
}

}  // namespace shoehorn::hub
