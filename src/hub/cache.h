// One model in the hub's local cache, laid out as huggingface_hub does, so that both see each
// other's downloads:
//
//   models--org--name/blobs/ETAG               contents
//   models--org--name/blobs/ETAG.incomplete    as far as they came
//   models--org--name/snapshots/COMMIT/FILE    links to blobs
//   models--org--name/refs/REVISION            the commit
//   .locks/models--org--name/ETAG.lock         held while a blob is written
#pragma once

#include <filesystem>
#include <string>

namespace shoehorn::hub {

class CachedModel {
 public:
  /// `repository`: "org/name" or "name".
  CachedModel(const std::filesystem::path& cache, const std::string& repository);

  std::filesystem::path blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  std::filesystem::path incomplete(const std::string& etag) const {
    return folder_ / "blobs" / (etag + ".incomplete");
  }
  std::filesystem::path lock(const std::string& etag) const { return locks_ / (etag + ".lock"); }
  std::filesystem::path snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }

  /// Makes the folders. Throws FileError.
  void create() const;
  /// snapshots/COMMIT/FILE becomes a link to the blob. `file` is a safe name. Throws FileError.
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;
  /// Throws FileError.
  void write_ref(const std::string& revision, const std::string& commit) const;

 private:
  std::filesystem::path folder_;
  std::filesystem::path locks_;
};

/// Held until the destructor, by flock(2) as huggingface_hub's locks are.
class FileLock {
 public:
  /// Waits for whoever holds it. Throws FileError.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

/// The name of a blob from an ETag header: without W/ and quotes. Empty where it is no plain name.
std::string blob_name(const std::string& etag);

}  // namespace shoehorn::hub
