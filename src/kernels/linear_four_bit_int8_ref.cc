// The truth of four-bit weights times int8 activations: plain loops, sums of runs in integers and
// of their products in double precision.
#include <cmath>
#include <cstring>

#include "kernels/linear_four_bit_int8_paths.h"
#include "quant/four_bit.h"

namespace shoehorn::ref {
namespace {

struct Run {
  std::int8_t codes[kInt8Run];  // in their own order
  float scale;
};

std::int64_t row_bytes(std::int64_t k) {
  const auto bytes = k / kInt8Run * static_cast<std::int64_t>(sizeof(Run));
  return (bytes + 63) / 64 * 64;
}

Run quantize_run(const float* x) {
  Run run{};
  float largest = 0;
  for (std::int64_t i = 0; i < kInt8Run; ++i) {
    // A NaN is neither smaller nor larger, and must not be lost.
    if (!(std::fabs(x[i]) <= largest)) largest = std::fabs(x[i]);
    if (std::isnan(largest)) break;
  }
  if (!std::isfinite(largest)) {
    run.scale = NAN;
  } else if (largest >= kLeastActivation) {
    const float factor = 127.0F / largest;
    for (std::int64_t i = 0; i < kInt8Run; ++i) {
      run.codes[i] = static_cast<std::int8_t>(std::nearbyint(x[i] * factor));
    }
    run.scale = largest * kInt8Step;
  }
  return run;
}

void quantize(const float* x, std::int64_t k, std::byte* out) {
  for (std::int64_t at = 0; at < k; at += kInt8Run, out += sizeof(Run)) {
    const Run run = quantize_run(x + at);
    std::memcpy(out, &run, sizeof(run));
  }
}

void dot(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x,
         std::int64_t begin, std::int64_t end, float* /*scratch*/) {
  for (std::int64_t n = begin; n < end; ++n) {
    for (std::int64_t m = 0; m < job.rows; ++m) {
      double sum = 0;
      for (std::int64_t at = 0; at < job.k; at += kInt8Run) {
        Run run;
        std::memcpy(&run, x + m * row_bytes(job.k) + at / kInt8Run * std::int64_t{sizeof(run)},
                    sizeof(run));
        const std::int64_t first = n * job.k + at;
        std::int32_t products = 0;
        for (std::int64_t i = 0; i < kInt8Run; ++i) {
          products += codes.codes[packed_code(job.parts.packed, first + i)] * run.codes[i];
        }
        const float absmax = job.parts.absmax_of(first / job.parts.blocksize);
        sum += static_cast<double>(products) * absmax * run.scale;
      }
      sum *= codes.unit;
      if (job.bias != nullptr) sum += job.bias[n];
      float& y = job.y[m * job.ldy + n];
      y = static_cast<float>(job.accumulate ? y + sum : sum);
    }
  }
}

}  // namespace

const FourBitInt8DotPath kFourBitInt8Dot = {
    .row_bytes = row_bytes, .quantize = quantize, .dot = dot};

}  // namespace shoehorn::ref
