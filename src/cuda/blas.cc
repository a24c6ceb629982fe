#include "cuda/blas.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <cublasLt.h>
#include <dlfcn.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/check.h"
#include "cuda/memory.h"
#include "cuda/queue.h"

namespace shoehorn::cuda {
namespace {

// Structs of another major version may be laid out differently.
constexpr int kMajor = CUBLAS_VER_MAJOR;

std::vector<std::string> places_of_library() {
  const std::string name = str_cat("libcublasLt.so.", kMajor);
  std::vector<std::string> places;
  if (const char* const path = std::getenv("SHOEHORN_CUBLASLT"); path != nullptr && *path != 0) {
    places.emplace_back(path);
    return places;
  }
  places.push_back(name);
  for (const char* const folder :
       {"/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/",
        "/usr/lib/x86_64-linux-gnu/"}) {
    places.push_back(folder + name);
  }
  return places;
}

// The functions of the library that are used here.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtGetStatusString) status_string = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
};

template <typename Function>
void find_function(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw DeviceError(str_cat("cuBLASLt has no ", name));
}

Library open_library() {
  std::string looked;
  void* handle = nullptr;
  for (const std::string& place : places_of_library()) {
    handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    const char* const why = dlerror();
    looked += str_cat("\n  ", place, ": ", why != nullptr ? why : "not opened");
  }
  if (handle == nullptr) {
    throw DeviceError(
        str_cat("CUDA devices need cuBLASLt ", kMajor,
                " of the CUDA toolkit (PyPI: nvidia-cublas); set SHOEHORN_CUBLASLT to the path of "
                "libcublasLt.so.",
                kMajor, ". Looked for it here:", looked));
  }
  Library found;
  find_function(handle, "cublasLtCreate", found.create);
  find_function(handle, "cublasLtDestroy", found.destroy);
  find_function(handle, "cublasLtGetVersion", found.version);
  find_function(handle, "cublasLtGetStatusString", found.status_string);
  find_function(handle, "cublasLtMatmul", found.matmul);
  find_function(handle, "cublasLtMatmulAlgoGetHeuristic", found.heuristic);
  find_function(handle, "cublasLtMatmulDescCreate", found.desc_create);
  find_function(handle, "cublasLtMatmulDescDestroy", found.desc_destroy);
  find_function(handle, "cublasLtMatmulDescSetAttribute", found.desc_set);
  find_function(handle, "cublasLtMatrixLayoutCreate", found.layout_create);
  find_function(handle, "cublasLtMatrixLayoutDestroy", found.layout_destroy);
  find_function(handle, "cublasLtMatmulPreferenceCreate", found.preference_create);
  find_function(handle, "cublasLtMatmulPreferenceDestroy", found.preference_destroy);
  find_function(handle, "cublasLtMatmulPreferenceSetAttribute", found.preference_set);
  if (const std::size_t version = found.version(); version / 10000 != kMajor) {
    throw DeviceError(
        str_cat("cuBLASLt of version ", version, " was opened; ", kMajor, ".x is needed"));
  }
  return found;
}

// Opened once and kept: a library with state on cards is not closed while they are in use.
const Library& library() {
  static const Library opened = open_library();
  return opened;
}

void check_blas(cublasStatus_t status, std::string_view call, int ordinal) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(
      str_cat("CUDA card ", ordinal, ": ", call, " failed: ", library().status_string(status)));
}

// Operands' types and what they are multiplied in.
struct Kinds {
  cudaDataType_t operands = CUDA_R_32F;
  cudaDataType_t result = CUDA_R_32F;
  cudaDataType_t scale = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  std::uint32_t operand_bytes = 4;
};

constexpr Kinds kInt8Kinds{.operands = CUDA_R_8I,
                           .result = CUDA_R_32I,
                           .scale = CUDA_R_32I,
                           .compute = CUBLAS_COMPUTE_32I,
                           .operand_bytes = 1};

Kinds kinds_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return {};
    case DType::kF16: return {.operands = CUDA_R_16F, .operand_bytes = 2};
    case DType::kBF16: return {.operands = CUDA_R_16BF, .operand_bytes = 2};
    default: throw ArgumentError(str_cat("no product of ", to_string(dtype), " on a CUDA device"));
  }
}

std::uint32_t alignment_of(const void* address, std::int64_t row_bytes) {
  constexpr std::uint32_t kMost = 16;  // more makes no difference to the library's kernels
  const auto bits = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address)) |
                    static_cast<std::uint32_t>(row_bytes) | kMost;
  return bits & (~bits + 1);
}

// Everything an algorithm is chosen by. Alignments: of the addresses and rows of x, w and y.
struct PlanKey {
  cudaDataType_t operands = CUDA_R_32F;
  std::array<std::int64_t, 4> sizes{};  // rows, n, k, ldy
  std::array<std::uint32_t, 3> alignments{};
  bool accumulate = false;

  friend auto operator<=>(const PlanKey& a, const PlanKey& b) {
    return std::tie(a.operands, a.sizes, a.alignments, a.accumulate) <=>
           std::tie(b.operands, b.sizes, b.alignments, b.accumulate);
  }
};

// The library multiplies columns: to it a row-major [r, c] is a [c, r], and y's transpose is
// w · x's transpose, with w transposed.
class Plan {
 public:
  Plan(cublasLtHandle_t handle, const Kinds& kinds, const PlanKey& key, int ordinal) {
    const auto [rows, n, k, ldy] = key.sizes;
    try {
      make_desc(kinds, ordinal);
      make_layout(w_, kinds.operands, k, n, k, ordinal);
      make_layout(x_, kinds.operands, k, rows, k, ordinal);
      make_layout(y_, kinds.result, n, rows, ldy, ordinal);
      choose(handle, key, ordinal);
    } catch (...) {
      destroy();
      throw;
    }
  }
  ~Plan() { destroy(); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool is_possible() const { return is_possible_; }

  void run(cublasLtHandle_t handle, const MatrixProduct& product, bool is_int8, void* workspace,
           const Queue& queue) const {
    const std::int32_t int_one = 1;
    const std::int32_t int_beta = product.accumulate ? 1 : 0;
    const float one = 1;
    const float beta = product.accumulate ? 1 : 0;
    check_blas(library().matmul(
                   handle, desc_,
                   is_int8 ? static_cast<const void*>(&int_one) : static_cast<const void*>(&one),
                   product.w, w_, product.x, x_,
                   is_int8 ? static_cast<const void*>(&int_beta) : static_cast<const void*>(&beta),
                   product.y, y_, product.y, y_, &algorithm_.algo, workspace,
                   algorithm_.workspaceSize, queue.stream()),
               "cublasLtMatmul", queue.ordinal());
  }

 private:
  void make_desc(const Kinds& kinds, int ordinal) {
    check_blas(library().desc_create(&desc_, kinds.compute, kinds.scale),
               "cublasLtMatmulDescCreate", ordinal);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check_blas(
        library().desc_set(desc_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
        "cublasLtMatmulDescSetAttribute", ordinal);
  }

  static void make_layout(cublasLtMatrixLayout_t& layout, cudaDataType_t type, std::int64_t rows,
                          std::int64_t columns, std::int64_t ld, int ordinal) {
    check_blas(library().layout_create(&layout, type, static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns), ld),
               "cublasLtMatrixLayoutCreate", ordinal);
  }

  void choose(cublasLtHandle_t handle, const PlanKey& key, int ordinal) {
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(library().preference_create(&preference), "cublasLtMatmulPreferenceCreate", ordinal);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
      return library().preference_set(preference, what, &value, sizeof(value));
    };
    const std::uint64_t workspace = Blas::kWorkspaceBytes;
    const auto [x, w, y] = key.alignments;
    int count = 0;
    cublasStatus_t status = set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
    for (const auto& [what, bytes] : {std::pair{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, w},
                                      std::pair{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x},
                                      std::pair{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, y},
                                      std::pair{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, y}}) {
      if (status == CUBLAS_STATUS_SUCCESS) status = set(what, bytes);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
      status =
          library().heuristic(handle, desc_, w_, x_, y_, y_, preference, 1, &algorithm_, &count);
    }
    library().preference_destroy(preference);
    // That there is none is an answer.
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return;
    check_blas(status, "cublasLtMatmulAlgoGetHeuristic", ordinal);
    is_possible_ = count > 0 && algorithm_.state == CUBLAS_STATUS_SUCCESS;
  }

  void destroy() {
    if (y_ != nullptr) library().layout_destroy(y_);
    if (x_ != nullptr) library().layout_destroy(x_);
    if (w_ != nullptr) library().layout_destroy(w_);
    if (desc_ != nullptr) library().desc_destroy(desc_);
  }

  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t w_ = nullptr;
  cublasLtMatrixLayout_t x_ = nullptr;
  cublasLtMatrixLayout_t y_ = nullptr;
  cublasLtMatmulHeuristicResult_t algorithm_{};
  bool is_possible_ = false;
};

}  // namespace

struct Blas::Impl {
  explicit Impl(Queue& its_queue)
      : queue(its_queue), workspace(its_queue.ordinal(), kWorkspaceBytes) {
    queue.make_current();
    check_blas(library().create(&handle), "cublasLtCreate", queue.ordinal());
  }
  ~Impl() {
    plans.clear();
    library().destroy(handle);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool try_run(const Kinds& kinds, const MatrixProduct& product) {
    if (product.rows == 0 || product.n == 0) return true;
    const std::int64_t operand_row = product.k * kinds.operand_bytes;
    const PlanKey key{
        .operands = kinds.operands,
        .sizes = {product.rows, product.n, product.k, product.ldy},
        .alignments = {alignment_of(product.x, operand_row), alignment_of(product.w, operand_row),
                       alignment_of(product.y, product.ldy * 4)},
        .accumulate = product.accumulate};
    // Prompts of every length pass by here; what was chosen for old ones is chosen again.
    if (plans.size() >= kMostPlans) plans.clear();
    queue.make_current();
    const Plan& plan = plans.try_emplace(key, handle, kinds, key, queue.ordinal()).first->second;
    if (!plan.is_possible()) return false;
    plan.run(handle, product, kinds.operands == CUDA_R_8I, workspace.data(), queue);
    return true;
  }

  static constexpr std::size_t kMostPlans = 4096;

  Queue& queue;
  CardMemory workspace;
  cublasLtHandle_t handle = nullptr;
  std::map<PlanKey, Plan> plans;
};

Blas::Blas(Queue& queue) : impl_(std::make_unique<Impl>(queue)) {}
Blas::~Blas() = default;

bool Blas::try_product(DType dtype, const MatrixProduct& product) {
  return impl_->try_run(kinds_of(dtype), product);
}

void Blas::product(DType dtype, const MatrixProduct& product) {
  if (try_product(dtype, product)) return;
  throw DeviceError(str_cat("CUDA card ", impl_->queue.ordinal(), ": cuBLASLt has no ",
                            to_string(dtype), " product of ", product.rows, " x ", product.k,
                            " with ", product.n, " x ", product.k));
}

bool Blas::try_int8_product(const MatrixProduct& product) {
  return impl_->try_run(kInt8Kinds, product);
}

}  // namespace shoehorn::cuda
