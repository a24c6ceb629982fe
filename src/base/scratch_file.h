// A file without a name, for what does not fit in memory while a program runs: nothing is left of
// it, however the program ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace shoehorn {

/// Thread-compatible.
class ScratchFile {
 public:
  /// Takes `bytes` of the drive now, so that writing does not find it full. Makes the folder where
  /// there is none. Throws FileError, which says how much was asked for.
  ScratchFile(const std::filesystem::path& folder, std::uint64_t bytes);
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  /// What was never written reads as zeros. Throws FileError.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Within the size. Throws FileError.
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  /// A range will be read soon; the system may begin.
  void expect(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  std::filesystem::path folder_;  // for errors
  int fd_ = -1;
};

}  // namespace shoehorn
