// Instructions of an emulated card, in place of src/kernels/instructions_cuda.h, which says what
// they do. Addresses of shared memory count from the memory that a launch asks for.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/emulated/device.h"

namespace shoehorn::cuda {

inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const std::byte*>(pointer) -
                                    emulated::running.shared);
}

inline std::byte* at_shared_address(std::uint32_t address) {
  return emulated::running.shared + address;
}

inline std::uint16_t half_of(std::uint32_t pair, unsigned which) {
  return static_cast<std::uint16_t>(which == 0 ? pair & 0xFFFFU : pair >> 16);
}

template <typename T>
void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  // Each lane brings its eight numbers of a, then its four of b, as float32.
  emulated::Handed& mine = emulated::begin_step();
  const std::uint32_t pairs[6] = {a[0], a[1], a[2], a[3], b0, b1};
  for (unsigned i = 0; i < 12; ++i) {
    const std::uint16_t bits = half_of(pairs[i / 2], i % 2);
    T number;
    std::memcpy(static_cast<void*>(&number), &bits, sizeof(number));
    mine.words[i] = std::bit_cast<std::uint32_t>(static_cast<float>(number));
  }
  const auto& all = emulated::finish_step().by_lane;
  const unsigned g = emulated::running.thread->lane / 4;
  const unsigned t = emulated::running.thread->lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned is_lower = i / 2;  // row g + 8
    const unsigned column = 2 * t + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const auto& row = all[4 * g + k % 8 / 2].words;
      const auto& of_column = all[4 * column + k % 8 / 2].words;
      d[i] += std::bit_cast<float>(row[2 * (2 * (k / 8) + is_lower) + k % 2]) *
              std::bit_cast<float>(of_column[8 + 2 * (k / 8) + k % 2]);
    }
  }
}

// The addresses that all lanes name.
inline const std::array<emulated::Handed, emulated::kLanes>& hand_address(std::uint32_t address) {
  emulated::begin_step().words[0] = address;
  return emulated::finish_step().by_lane;
}

inline void load_matrices(std::uint32_t (&r)[4], std::uint32_t address) {
  const unsigned lane = emulated::running.thread->lane;
  const auto& all = hand_address(address);
  for (unsigned m = 0; m < 4; ++m) {
    std::memcpy(&r[m], at_shared_address(all[8 * m + lane / 4].words[0]) + 4 * (lane % 4), 4);
  }
}

inline void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  const unsigned g = emulated::running.thread->lane / 4;
  const unsigned t = emulated::running.thread->lane % 4;
  const auto& all = hand_address(address);
  for (unsigned m = 0; m < 4; ++m) {
    std::uint16_t halves[2];
    for (unsigned i = 0; i < 2; ++i) {
      std::memcpy(&halves[i], at_shared_address(all[8 * m + 2 * t + i].words[0]) + 2 * g, 2);
    }
    r[m] = std::uint32_t{halves[1]} << 16 | halves[0];
  }
}

inline std::uint32_t transpose_matrix(std::uint32_t pair) {
  const unsigned g = emulated::running.thread->lane / 4;
  const unsigned t = emulated::running.thread->lane % 4;
  const auto& all = hand_address(pair);
  const std::uint32_t first = half_of(all[4 * (2 * t) + g / 2].words[0], g % 2);
  const std::uint32_t second = half_of(all[4 * (2 * t + 1) + g / 2].words[0], g % 2);
  return second << 16 | first;
}

inline void copy_16_or_zero(std::uint32_t to, const void* from, bool is_there) {
  emulated::start_copy(at_shared_address(to), is_there ? from : nullptr);
}

inline void commit_copies() {
  emulated::end_group_of_copies();
}

template <int kPending>
void wait_for_copies() {
  emulated::wait_for_groups(kPending);
}

inline std::uint32_t load_shared_word(std::uint32_t address) {
  std::uint32_t word;
  std::memcpy(&word, at_shared_address(address), sizeof(word));
  return word;
}

inline float2 load_shared_pair(std::uint32_t address) {
  float2 pair;
  std::memcpy(&pair, at_shared_address(address), sizeof(pair));
  return pair;
}

template <int kOffset>
void load_shared_if(bool is_there, std::uint32_t address, uint4& bytes) {
  if (is_there) std::memcpy(&bytes, at_shared_address(address) + kOffset, sizeof(bytes));
}

inline void store_shared(std::uint32_t address, const uint4& bytes) {
  std::memcpy(at_shared_address(address), &bytes, sizeof(bytes));
}

inline uint4 load_once(const void* at) {
  return *static_cast<const uint4*>(at);
}

inline void prefetch(const void* /*at*/) {}

inline float fast_exp2(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126F ? 0.0F : y;
}

template <typename T>
void keep(const T*& /*address*/) {}

}  // namespace shoehorn::cuda
