// The functions of cuBLASLt that shoehorn calls, as plain loops. An int8 product whose operands are
// not at multiples of 16 bytes is refused, so that the way without it is taken too.
#include <cstdint>
#include <cstring>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/emulated/stream.h"

namespace {

struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, ld;
};

struct Desc {
  cublasComputeType_t compute;
  bool is_first_transposed = false;
};

struct Preference {
  std::uint32_t least_alignment = 256;
};

struct Handle {};

template <typename T>
const T& as(const void* opaque) {
  return *static_cast<const T*>(opaque);
}

float at(const void* data, cudaDataType type, std::int64_t i) {
  switch (type) {
    case CUDA_R_16F: return __half2float(static_cast<const __half*>(data)[i]);
    case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    default: return static_cast<const float*>(data)[i];
  }
}

// c[column, row] += a[row, :] · b[column, :], all of them rows of memory.
template <typename T, typename At>
void multiply(const Layout& a, const void* a_data, const Layout& b, const void* b_data,
              const Layout& c, T* c_data, bool accumulate, const At& at) {
  const std::int64_t depth = a.rows;
  std::vector<T> weights(static_cast<std::size_t>(depth));
  for (std::int64_t n = 0; n < a.columns; ++n) {
    for (std::int64_t k = 0; k < depth; ++k) {
      weights[static_cast<std::size_t>(k)] = at(a_data, a.type, n * a.ld + k);
    }
    for (std::int64_t m = 0; m < b.columns; ++m) {
      T sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) {
        sum += weights[static_cast<std::size_t>(k)] * at(b_data, b.type, m * b.ld + k);
      }
      T& to = c_data[m * c.ld + n];
      to = accumulate ? to + sum : sum;
    }
  }
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new Handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<Handle*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
std::size_t cublasLtGetVersion() {
  return CUBLAS_VERSION;
}
const char* cublasLtGetStatusString(cublasStatus_t /*status*/) {
  return "refused";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t /*scale*/) {
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new Desc{compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete reinterpret_cast<Desc*>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t /*bytes*/) {
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA) return CUBLAS_STATUS_NOT_SUPPORTED;
  reinterpret_cast<Desc*>(desc)->is_first_transposed = as<cublasOperation_t>(value) == CUBLAS_OP_T;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t ld) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
      new Layout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete reinterpret_cast<Layout*>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<Preference*>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t /*bytes*/) {
  if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES ||
      attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) {
    std::uint32_t& least = reinterpret_cast<Preference*>(preference)->least_alignment;
    least = std::min(least, as<std::uint32_t>(value));
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t /*a*/,
    cublasLtMatrixLayout_t /*b*/, cublasLtMatrixLayout_t /*c*/, cublasLtMatrixLayout_t /*d*/,
    cublasLtMatmulPreference_t preference, int /*most*/, cublasLtMatmulHeuristicResult_t* results,
    int* count) {
  *count = 0;
  if (as<Desc>(desc).compute == CUBLAS_COMPUTE_32I &&
      as<Preference>(preference).least_alignment < 16) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  results[0] = {};
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t desc,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t /*c_layout*/, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* /*algorithm*/, void* /*workspace*/,
                              std::size_t /*workspace_bytes*/, cudaStream_t stream) {
  const auto first = as<Layout>(a_layout);
  const auto second = as<Layout>(b_layout);
  const auto result = as<Layout>(d_layout);
  if (!as<Desc>(desc).is_first_transposed || c != d || first.rows != second.rows) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (as<Desc>(desc).compute == CUBLAS_COMPUTE_32I) {
    if (as<std::int32_t>(alpha) != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
    const bool accumulate = as<std::int32_t>(beta) != 0;
    shoehorn::cuda::emulated::submit(stream, [=] {
      multiply(first, a, second, b, result, static_cast<std::int32_t*>(d), accumulate,
               [](const void* data, cudaDataType, std::int64_t i) {
                 return std::int32_t{static_cast<const std::int8_t*>(data)[i]};
               });
    });
  } else {
    if (as<float>(alpha) != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
    const bool accumulate = as<float>(beta) != 0;
    shoehorn::cuda::emulated::submit(stream, [=] {
      multiply(first, a, second, b, result, static_cast<float*>(d), accumulate, at);
    });
  }
  return CUBLAS_STATUS_SUCCESS;
}
