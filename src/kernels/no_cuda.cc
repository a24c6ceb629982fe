// Takes the place of the kernels of CUDA devices in a build without the toolkit. There are no such
// devices then, so nothing here is ever called.
#include "shoehorn/error.h"

#include "kernels/attention_cuda.h"
#include "kernels/linear_cuda.h"
#include "kernels/rows_cuda.h"
#include "kernels/sample_cuda.h"

namespace shoehorn::cuda {
namespace {

[[noreturn]] void refuse() {
  throw DeviceError("this shoehorn was built without CUDA");
}

}  // namespace

void linear_many(std::span<const LinearTask> /*tasks*/, std::span<const float> /*x*/,
                 std::int64_t /*rows*/, ExecContext& /*ctx*/) {
  refuse();
}
std::size_t linear_workspace_bytes(std::int64_t /*rows*/, std::int64_t /*k*/, std::int64_t /*n*/) {
  refuse();
}

void store_kv(const AttentionJob& /*job*/, ExecContext& /*ctx*/) {
  refuse();
}
void rotate_halves_and_store(const AttentionJob& /*job*/, float* /*q*/, const float* /*cos*/,
                             const float* /*sin*/, std::int64_t /*rotary_dim*/,
                             ExecContext& /*ctx*/) {
  refuse();
}
void attention(const AttentionJob& /*job*/, ExecContext& /*ctx*/) {
  refuse();
}
std::size_t attention_workspace_bytes(std::int64_t /*rows*/, std::int64_t /*sequences*/,
                                      std::int64_t /*positions*/, std::int64_t /*heads*/,
                                      std::int64_t /*head_dim*/) {
  refuse();
}

void linear_gated(Activation /*activation*/, const LinearTask& /*gate*/, const LinearTask& /*up*/,
                  std::span<const float> /*x*/, std::int64_t /*rows*/, ExecContext& /*ctx*/) {
  refuse();
}
void rms_norm(std::span<const float> /*x*/, std::span<const float> /*weight*/,
              float /*weight_offset*/, float /*eps*/, std::int64_t /*rows*/, std::span<float> /*y*/,
              ExecContext& /*ctx*/) {
  refuse();
}
void layer_norm(std::span<const float> /*x*/, std::span<const float> /*weight*/,
                std::span<const float> /*bias*/, float /*eps*/, std::int64_t /*rows*/,
                std::int64_t /*width*/, std::span<float> /*y*/, ExecContext& /*ctx*/) {
  refuse();
}
void activate(Activation /*activation*/, std::span<const float> /*x*/, std::span<float> /*out*/,
              ExecContext& /*ctx*/) {
  refuse();
}
void gate_mul(Activation /*activation*/, std::span<const float> /*gate*/,
              std::span<const float> /*up*/, std::span<float> /*out*/, ExecContext& /*ctx*/) {
  refuse();
}
void add(std::span<float> /*x*/, std::span<const float> /*y*/, ExecContext& /*ctx*/) {
  refuse();
}
void scale(std::span<float> /*x*/, float /*factor*/, ExecContext& /*ctx*/) {
  refuse();
}
void add_scaled(std::span<float> /*x*/, std::span<const float> /*y*/, float /*factor*/,
                ExecContext& /*ctx*/) {
  refuse();
}
void soft_cap(std::span<float> /*x*/, float /*cap*/, ExecContext& /*ctx*/) {
  refuse();
}
void copy_values(std::span<const float> /*from*/, std::span<float> /*to*/, ExecContext& /*ctx*/) {
  refuse();
}
void stack_rows(std::span<const float* const> /*rows*/, std::int64_t /*width*/,
                std::span<float> /*to*/, ExecContext& /*ctx*/) {
  refuse();
}
void apply_rotary_halves(std::span<float> /*x*/, const RotaryShape& /*shape*/,
                         std::span<const float> /*cos*/, std::span<const float> /*sin*/,
                         ExecContext& /*ctx*/) {
  refuse();
}
void apply_rotary_pairs(std::span<float> /*x*/, const RotaryShape& /*shape*/,
                        std::span<const float> /*cos*/, std::span<const float> /*sin*/,
                        ExecContext& /*ctx*/) {
  refuse();
}
void split_columns(std::span<const float> /*x*/, std::int64_t /*runs*/,
                   std::span<const std::span<float>> /*parts*/, ExecContext& /*ctx*/) {
  refuse();
}
void fetch_rows(DType /*dtype*/, const std::byte* /*table*/, std::int64_t /*width*/,
                const std::int32_t* /*ids*/, std::int64_t /*count*/, float* /*out*/,
                ExecContext& /*ctx*/) {
  refuse();
}
void gather_rows(const float* /*x*/, std::int64_t /*width*/, const std::int32_t* /*rows*/,
                 std::int64_t /*count*/, float* /*out*/, ExecContext& /*ctx*/) {
  refuse();
}
void add_weighted_rows(std::span<const float> /*y*/, std::span<const std::int32_t> /*rows*/,
                       std::span<const float> /*weights*/, std::span<float> /*sum*/,
                       ExecContext& /*ctx*/) {
  refuse();
}
void add_weighted(std::span<const float> /*y*/, std::span<const float> /*weights*/,
                  std::span<float> /*sum*/, ExecContext& /*ctx*/) {
  refuse();
}
void clamp_glu(std::span<const float> /*both*/, float /*limit*/, float /*alpha*/,
               std::span<float> /*gate*/, std::span<float> /*up*/, ExecContext& /*ctx*/) {
  refuse();
}
void copy_runs(std::span<const float> /*from*/, Runs /*source*/, std::span<float> /*to*/,
               Runs /*target*/, std::int64_t /*count*/, std::int64_t /*share*/,
               ExecContext& /*ctx*/) {
  refuse();
}
void argmax(const float* /*x*/, std::int64_t /*rows*/, std::int64_t /*width*/,
            std::int32_t* /*ids*/, ExecContext& /*ctx*/) {
  refuse();
}
std::size_t argmax_workspace_bytes(std::int64_t /*rows*/) {
  refuse();
}
void round_values(DType /*dtype*/, std::span<float> /*x*/, ExecContext& /*ctx*/) {
  refuse();
}

void top_k(const float* /*x*/, std::int64_t /*rows*/, std::int64_t /*width*/, std::int64_t /*k*/,
           float* /*values*/, std::int32_t* /*ids*/, ExecContext& /*ctx*/) {
  refuse();
}
std::size_t top_k_workspace_bytes(std::int64_t /*rows*/, std::int64_t /*width*/,
                                  std::int64_t /*k*/) {
  refuse();
}
void apply_repetition_penalty(const float* /*x*/, std::int64_t /*rows*/, std::int64_t /*width*/,
                              const PenalizedRow* /*penalized*/, const std::int32_t* /*ids*/,
                              float* /*out*/, ExecContext& /*ctx*/) {
  refuse();
}

}  // namespace shoehorn::cuda
