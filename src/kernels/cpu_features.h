// What the processor and the operating system allow, read from cpuid and xgetbv once. Ours rather
// than the compiler's built-in because clang 14 knows no name for F16C.
#pragma once

#include <string>

namespace shoehorn {

/// Vector extensions that kernels may use; all false on other processors than x86-64.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512_vnni = false;
  bool avx512_vbmi = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool amx_tile = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
};

/// Asks the processor; a feature counts only if the operating system saves its registers.
CpuFeatures detect_cpu_features();

/// Asks the operating system to let this process use AMX tiles, which Linux saves on request only.
/// Threads started before and after may use them once it said yes.
bool may_use_tiles();

/// "avx2 fma f16c avx512f ...": the names of those that are there, as /proc/cpuinfo spells them.
std::string to_string(const CpuFeatures& features);

}  // namespace shoehorn
