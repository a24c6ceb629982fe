// cuBLASLt, NVIDIA's library of matrix products, opened at run time: a machine without a card need
// not have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/dtype.h"

namespace shoehorn::cuda {

class Queue;

/// y[m, n] = sum_k x[m, k] · w[n, k], or y += with `accumulate`. All row-major on the queue's card.
struct MatrixProduct {
  std::int64_t rows = 0;  // m
  std::int64_t n = 0;
  std::int64_t k = 0;
  const void* x = nullptr;  // [rows, k]
  const void* w = nullptr;  // [n, k]
  void* y = nullptr;        // [rows, ldy], ldy >= n
  std::int64_t ldy = 0;
  bool accumulate = false;
};

/// One handle and its plans: the fastest algorithm for each shape, asked for once.
/// Thread-compatible.
class Blas {
 public:
  /// Throws DeviceError saying where the library was looked for: what SHOEHORN_CUBLASLT names, or
  /// else the loader's path and the toolkit's usual folders. Not while the queue is recorded.
  explicit Blas(Queue& queue);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  /// x and w in F32, F16 or BF16; y F32, summed in F32 (F32 products without TF32). False where the
  /// library has no such product for these sizes or alignments; nothing is submitted then.
  bool try_product(DType dtype, const MatrixProduct& product);
  /// The same; throws DeviceError in place of false.
  void product(DType dtype, const MatrixProduct& product);
  /// x and w int8, y int32, exact. False as above; sizes and addresses that are multiples of 16 are
  /// never refused.
  bool try_int8_product(const MatrixProduct& product);

  /// Scratch that the library may use, which a Blas allocates when it is made.
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoehorn::cuda
