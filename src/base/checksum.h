// 64 bits that tell whether bytes are still those that were written. Against accidents, not malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shoehorn {

/// Differs for certain where one aligned run of eight bytes does, else but for one chance in 2^64.
/// Bytes in another order, or fewer of them, give another value.
std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace shoehorn
