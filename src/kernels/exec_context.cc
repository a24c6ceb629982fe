#include "kernels/exec_context.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/cpu_features.h"

namespace shoehorn {
namespace {

constexpr std::size_t kWorkspaceAlign = 64;

Isa best_isa(const CpuFeatures& cpu) {
  if (!(cpu.avx2 && cpu.fma && cpu.f16c)) return Isa::kRef;
  if (!(cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl)) return Isa::kAvx2;
  const bool amx = cpu.amx_tile && cpu.amx_int8 && cpu.amx_bf16;
  if (!(amx && cpu.avx512_vnni && cpu.avx512_bf16 && may_use_tiles())) return Isa::kAvx512;
  return Isa::kAmx;
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (const Isa isa : {Isa::kRef, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    if (name == to_string(isa)) return isa;
  }
  return std::nullopt;
}

}  // namespace

Isa detect_isa() {
  const CpuFeatures cpu = detect_cpu_features();
  const Isa best = best_isa(cpu);
  const char* const asked = std::getenv("SHOEHORN_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  const std::optional<Isa> isa = isa_from_name(asked);
  if (!isa) {
    throw ArgumentError(
        str_cat("SHOEHORN_ISA is \"", asked, "\"; it may be ref, avx2, avx512 or amx"));
  }
  if (*isa > best) {
    throw DeviceError(str_cat("SHOEHORN_ISA asks for ", asked, "; this processor has ",
                              to_string(best), " at most (", to_string(cpu), ")"));
  }
  return *isa;
}

std::string_view to_string(Isa isa) {
  switch (isa) {
    case Isa::kRef: return "ref";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAmx: return "amx";
  }
  return "?";
}

std::byte* Workspace::take_bytes(std::size_t bytes) {
  // used_ stays a multiple of the alignment, so the buffer's own alignment carries over.
  const std::size_t free = memory_.size() - used_;
  if (bytes > free) {
    throw DeviceError(str_cat("cpu: workspace of ", memory_.size(), " bytes has ", free,
                              " left where ", bytes, " are needed; the plan counted too few"));
  }
  std::byte* const start = memory_.data() + used_;
  const std::size_t padding = (kWorkspaceAlign - bytes % kWorkspaceAlign) % kWorkspaceAlign;
  used_ += std::min(free, bytes + padding);
  peak_ = std::max(peak_, used_);
  return start;
}

}  // namespace shoehorn
