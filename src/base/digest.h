// SHA-256 and SHA-1 (FIPS 180-4) of what comes in pieces: what hubs and version control name files
// by. For checking transfers; nothing here keeps a secret.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace shoehorn {

/// Cuts what comes into blocks of 64 bytes, as both functions take them.
class BlockHash {
 public:
  virtual ~BlockHash();
  void update(std::span<const std::byte> bytes);
  /// In lower-case hexadecimal. Nothing may be added afterwards.
  std::string hex_digest();

 protected:
  virtual void take_block(const std::uint8_t* block) = 0;
  virtual std::span<const std::uint32_t> state() const = 0;

 private:
  std::array<std::uint8_t, 64> block_{};
  std::size_t filled_ = 0;
  std::uint64_t bytes_ = 0;
};

class Sha256 final : public BlockHash {
 public:
  Sha256();

 private:
  void take_block(const std::uint8_t* block) override;
  std::span<const std::uint32_t> state() const override { return state_; }
  std::array<std::uint32_t, 8> state_;
};

class Sha1 final : public BlockHash {
 public:
  Sha1();

 private:
  void take_block(const std::uint8_t* block) override;
  std::span<const std::uint32_t> state() const override { return state_; }
  std::array<std::uint32_t, 5> state_;
};

}  // namespace shoehorn
