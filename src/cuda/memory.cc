#include "cuda/memory.h"

#include <array>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/check.h"

namespace shoehorn::cuda {
namespace {

/// Whether bytes copied straight from one card to another arrive, which some machines with an IOMMU
/// or virtualisation get wrong without an error.
bool try_peer_copy(int to, int from) {
  int can = 0;
  if (cudaDeviceCanAccessPeer(&can, to, from) != cudaSuccess || can == 0) return false;
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  std::vector<unsigned char> pattern(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) pattern[i] = static_cast<unsigned char>(i * 131 + 7);
  std::vector<unsigned char> arrived(kBytes, 0);
  const CardMemory source(from, kBytes);
  const CardMemory target(to, kBytes);
  cudaMemcpy(source.data(), pattern.data(), kBytes, cudaMemcpyHostToDevice);
  cudaMemcpyPeer(target.data(), to, source.data(), from, kBytes);
  cudaMemcpy(arrived.data(), target.data(), kBytes, cudaMemcpyDeviceToHost);
  return cudaGetLastError() == cudaSuccess && arrived == pattern;
}

bool peer_copies_work(int to, int from) {
  static std::mutex mutex;
  static std::map<std::pair<int, int>, bool> tried;
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = tried.try_emplace({to, from}, false);
  if (is_new) at->second = try_peer_copy(to, from);
  return at->second;
}

}  // namespace

CardMemory::CardMemory(int ordinal, std::size_t bytes) : ordinal_(ordinal), bytes_(bytes) {
  if (bytes == 0) return;
  check(cudaSetDevice(ordinal), "cudaSetDevice", ordinal);
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    std::size_t free = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free, &total);
    throw DeviceError(str_cat("CUDA card ", ordinal, " has no room for ", bytes, " bytes: ", free,
                              " of ", total, " are free"));
  }
  check(error, "cudaMalloc", ordinal, bytes);
  data_ = static_cast<std::byte*>(data);
  check(cudaMemset(data_, 0, bytes), "cudaMemset", ordinal, bytes);
  // Queues do not wait for the stream that clears.
  check(cudaStreamSynchronize(nullptr), "cudaMemset", ordinal, bytes);
}

CardMemory::~CardMemory() {
  if (data_ == nullptr) return;
  cudaSetDevice(ordinal_);
  cudaFree(data_);
}

CardMemory::CardMemory(CardMemory&& other) noexcept {
  *this = std::move(other);
}

CardMemory& CardMemory::operator=(CardMemory&& other) noexcept {
  std::swap(ordinal_, other.ordinal_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    throw DeviceError(str_cat("cpu: no room for ", bytes,
                              " bytes of page-locked memory: ", cudaGetErrorString(error)));
  }
  data_ = static_cast<std::byte*>(data);
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept {
  *this = std::move(other);
}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedRange::PinnedRange(std::span<std::byte> memory) {
  if (memory.empty()) return;
  const cudaError_t error =
      cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterPortable);
  if (error == cudaSuccess) {
    data_ = memory.data();
  } else {
    static_cast<void>(cudaGetLastError());
  }
}

PinnedRange::~PinnedRange() {
  if (data_ != nullptr) cudaHostUnregister(data_);
}

PinnedRange::PinnedRange(PinnedRange&& other) noexcept {
  *this = std::move(other);
}

PinnedRange& PinnedRange::operator=(PinnedRange&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

void copy_async(const Queue& queue, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, queue.stream()), "a copy",
        queue.ordinal(), bytes);
}

void copy_runs_async(const Queue& queue, void* to, const void* from, const StridedRuns& runs) {
  if (runs.run_bytes == 0 || runs.count == 0) return;
  check(cudaMemcpy2DAsync(to, runs.to_stride, from, runs.from_stride, runs.run_bytes, runs.count,
                          cudaMemcpyDefault, queue.stream()),
        "a copy", queue.ordinal(), runs.run_bytes * runs.count);
}

void upload(const Queue& queue, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  queue.make_current();
  copy_async(queue, to, from, bytes);
  // Pageable memory has been read when the call returns; page-locked memory need not have been.
  queue.synchronize();
}

void download(const Queue& queue, void* to, const void* from, std::size_t bytes) {
  queue.make_current();
  copy_async(queue, to, from, bytes);
  queue.synchronize();
}

void copy_between(const Queue& to_queue, void* to, const Queue& from_queue, const void* from,
                  std::size_t bytes) {
  if (bytes == 0) return;
  Event ready(from_queue.ordinal());
  from_queue.make_current();
  const bool same_card = to_queue.ordinal() == from_queue.ordinal();
  if (same_card || peer_copies_work(to_queue.ordinal(), from_queue.ordinal())) {
    ready.record(from_queue);
    to_queue.make_current();
    ready.hold(to_queue);
    check(cudaMemcpyPeerAsync(to, to_queue.ordinal(), from, from_queue.ordinal(), bytes,
                              to_queue.stream()),
          "a copy between cards", to_queue.ordinal(), bytes);
    // What the source's queue does next must not overwrite what is still being read.
    Event done(to_queue.ordinal());
    done.record(to_queue);
    done.hold(from_queue);
    return;
  }
  const PinnedMemory between(bytes);
  download(from_queue, between.data(), from, bytes);
  upload(to_queue, to, between.data(), bytes);
}

void fill_async(const Queue& queue, void* to, unsigned char value, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemsetAsync(to, value, bytes, queue.stream()), "filling memory", queue.ordinal(),
        bytes);
}

}  // namespace shoehorn::cuda
