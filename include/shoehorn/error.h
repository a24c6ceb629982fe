// What shoehorn throws. A message always carries what a user needs to act: the file, tensor or key,
// what was expected and what was found.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace shoehorn {

/// Base of everything shoehorn throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller asked for something that makes no sense: a bad size string, an unknown option value.
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused: a file is missing, a read failed, a disk is full.
class FileError : public Error {
 public:
  FileError(const std::filesystem::path& path, const std::string& what)
      : Error(path.string() + ": " + what) {}
};

/// A file or request breaks its own format.
class FormatError : public Error {
 public:
  FormatError(const std::filesystem::path& path, const std::string& what)
      : Error(path.string() + ": " + what) {}
  using Error::Error;
};

/// Valid, but not something shoehorn can do (yet); the message lists what it can do.
class UnsupportedError : public Error {
 public:
  using Error::Error;
};

/// The model cannot be placed under the given limits; the message says what would make it fit.
class PlanError : public Error {
 public:
  explicit PlanError(const std::string& what, std::size_t needed_bytes = 0,
                     std::size_t available_bytes = 0)
      : Error(what), needed_bytes_(needed_bytes), available_bytes_(available_bytes) {}
  /// Bytes that the smallest valid plan needs, and bytes that there are; 0 where that is not known.
  std::size_t needed_bytes() const { return needed_bytes_; }
  std::size_t available_bytes() const { return available_bytes_; }

 private:
  std::size_t needed_bytes_;
  std::size_t available_bytes_;
};

/// A device failed, ran out of memory, or is not there.
class DeviceError : public Error {
 public:
  using Error::Error;
};

}  // namespace shoehorn
