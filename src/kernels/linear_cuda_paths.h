// What linear() on a CUDA device is made of. Internal: linear_cuda.cc picks. All addresses are of
// the card; everything is submitted to the queue and nothing waits for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/queue.h"
#include "kernels/activation.h"
#include "kernels/exec_context.h"
#include "kernels/linear.h"
#include "tensor/dtype.h"

namespace shoehorn::cuda {

/// Rows of x that dot products take at most; more are matrix products.
inline constexpr std::int64_t kMostDotRows = 8;

/// x [rows, k] float32.
struct Activations {
  const float* x = nullptr;
  std::int64_t rows = 0;
  std::int64_t k = 0;

  Activations some(std::int64_t first, std::int64_t count) const {
    return {x + first * k, count, k};
  }
};

/// A few rows of x with at most kMostLinearTasks weights of one of F32, F16 and BF16, in one
/// launch, straight from the stored values. An output is summed in an order that depends on n, k,
/// rows and the card alone.
void linear_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue);

/// The same for weights of one type of GGUF blocks at addresses that takes_gguf_dot() takes.
bool takes_gguf_dot(const WeightView& weight, const Activations& x);
void linear_gguf_dot(std::span<const LinearTask> tasks, const Activations& x, const Queue& queue);

/// The same for one weight of any other plain dtype, or of four bits in any shape and place: a
/// value is decoded where it is multiplied. x is rounded to a four-bit weight's compute dtype
/// first.
void linear_dot_values(const LinearTask& task, const Activations& x, const Queue& queue);

/// A few rows of x in int8 with four-bit weights that ask for it (linear_four_bit_int8.h).
bool takes_four_bit_int8_dot(const WeightView& weight, const Activations& x);
void linear_four_bit_int8_dot(std::span<const LinearTask> tasks, const Activations& x,
                              ExecContext& ctx);
std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t rows, std::int64_t k);

/// Whether linear_four_bit_dot() can read such a weight: whole groups of 32 codes in 16-byte loads.
bool takes_four_bit_dot(const WeightView& weight, const Activations& x);

/// A few rows of x with at most kMostLinearTasks weights that takes_four_bit_dot() takes and whose
/// forms and compute dtypes are equal, in one launch. The products of 32 values are summed first,
/// then scaled by their absmax.
void linear_four_bit_dot(std::span<const LinearTask> tasks, const Activations& x,
                         const Queue& queue);

/// Whether linear_four_bit_tiles() takes such a weight: one with a compute dtype of 16 bits, whose
/// rows are whole blocks, or whole runs of 128 values where blocks are longer.
bool takes_four_bit_tiles(const WeightView& weight, const Activations& x, const Card& card);

/// Rows of x that linear_four_bit_tiles() takes at most: so many times kMostDotRows still cost less
/// than decoding the weight for a matrix product.
inline constexpr std::int64_t kMostTileRows = 32;

/// As linear_four_bit_dot(), on tensor cores: codes and x in float16, sums in float32.
void linear_four_bit_tiles(std::span<const LinearTask> tasks, const Activations& x,
                           const Queue& queue);

/// gate.y = activation(gate) · up of two weights of one shape and form, in one launch: the bits
/// that linear_four_bit_tiles() and gate_mul() give.
bool takes_four_bit_gate(const LinearTask& gate, const LinearTask& up, const Activations& x,
                         const Card& card);
void linear_four_bit_gate(Activation activation, const LinearTask& gate, const LinearTask& up,
                          const Activations& x, const Queue& queue);

/// Weights of LLM.int8() and one threshold, any number of rows (linear_int8.h).
void linear_int8(std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx);
std::size_t linear_int8_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n);

/// Many rows: matrix products in BF16, F16 or F32 (linear_cuda.h says which) of weights that were
/// decoded first where cuBLASLt cannot read them as they are.
void linear_gemm(std::span<const LinearTask> tasks, const Activations& x, ExecContext& ctx);
std::size_t linear_gemm_workspace_bytes(std::int64_t rows, std::int64_t k, std::int64_t n);

/// A few rows with one weight of any form but int8, whichever of the dot products above takes it.
void linear_few(const LinearTask& task, const Activations& x, const Queue& queue);

}  // namespace shoehorn::cuda
