#include "kernels/cpu_features.h"

#include <cstdint>
#include <string_view>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace shoehorn {

#if defined(__x86_64__)
namespace {

bool bit(unsigned word, int index) {
  return ((word >> index) & 1U) != 0;
}

// XCR0: which register files the operating system saves. Needs OSXSAVE.
std::uint64_t saved_registers() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

constexpr std::uint64_t kYmmState = 0x6;       // SSE and AVX
constexpr std::uint64_t kZmmState = 0xE6;      // and opmask, upper ZMM, high ZMM
constexpr std::uint64_t kTileState = 0x60000;  // XTILECFG, XTILEDATA

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures found;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !bit(c, 27)) return found;  // no OSXSAVE
  const std::uint64_t saved = saved_registers();
  const bool ymm = (saved & kYmmState) == kYmmState;
  const bool zmm = (saved & kZmmState) == kZmmState;
  const bool tiles = (saved & kTileState) == kTileState;
  found.fma = ymm && bit(c, 12);
  found.f16c = ymm && bit(c, 29);
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = ymm && bit(b, 5);
  found.avx512f = zmm && bit(b, 16);
  found.avx512dq = zmm && bit(b, 17);
  found.avx512bw = zmm && bit(b, 30);
  found.avx512vl = zmm && bit(b, 31);
  found.avx512_vbmi = zmm && bit(c, 1);
  found.avx512_vnni = zmm && bit(c, 11);
  found.avx512_fp16 = zmm && bit(d, 23);
  found.amx_bf16 = tiles && bit(d, 22);
  found.amx_tile = tiles && bit(d, 24);
  found.amx_int8 = tiles && bit(d, 25);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) found.avx512_bf16 = zmm && bit(a, 5);
  return found;
}
#else
CpuFeatures detect_cpu_features() {
  return {};
}
#endif

#if defined(__x86_64__) && defined(__linux__)
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of <asm/prctl.h>
  constexpr long kTileData = 18;               // the bit of XTILEDATA in XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool may_use_tiles() {
  return false;
}
#endif

std::string to_string(const CpuFeatures& features) {
  const std::pair<bool, std::string_view> names[] = {
      {features.avx2, "avx2"},
      {features.fma, "fma"},
      {features.f16c, "f16c"},
      {features.avx512f, "avx512f"},
      {features.avx512bw, "avx512bw"},
      {features.avx512dq, "avx512dq"},
      {features.avx512vl, "avx512vl"},
      {features.avx512_vnni, "avx512_vnni"},
      {features.avx512_vbmi, "avx512vbmi"},
      {features.avx512_bf16, "avx512_bf16"},
      {features.avx512_fp16, "avx512_fp16"},
      {features.amx_tile, "amx_tile"},
      {features.amx_bf16, "amx_bf16"},
      {features.amx_int8, "amx_int8"},
  };
  std::string text;
  for (const auto& [present, name] : names) {
    if (!present) continue;
    if (!text.empty()) text += ' ';
    text += name;
  }
  return text;
}

}  // namespace shoehorn
