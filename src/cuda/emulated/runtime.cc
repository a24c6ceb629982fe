// The CUDA runtime's functions that shoehorn calls, for cards made of host memory. Two cards, or
// the first of them, or none, as CUDA_VISIBLE_DEVICES says; a copy from the first straight to the
// second arrives wrong, as on machines whose peer copies are broken.
//
// Work of a stream is done as late as it may be: when the host waits for it, or another stream that
// was told to wait comes to that point. What forgot to wait finds old bytes.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include "cuda/emulated/stream.h"

using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> works;
};
struct CUgraphExec_st {
  std::vector<Work> works;
};
namespace shoehorn::cuda::emulated {

using Clock = std::chrono::steady_clock;

/// What was given to a stream and is not done yet.
struct Pending {
  std::deque<Work> works;
  std::uint64_t given = 0;
  std::uint64_t done = 0;
};

/// A point in a stream's work.
struct Point {
  std::shared_ptr<Pending> stream;  // null: has happened
  std::uint64_t given = 0;
};

}  // namespace shoehorn::cuda::emulated

struct CUstream_st {
  std::shared_ptr<shoehorn::cuda::emulated::Pending> pending;
  std::unique_ptr<CUgraph_st> recording;
};
struct CUevent_st {
  shoehorn::cuda::emulated::Point point;
  std::shared_ptr<shoehorn::cuda::emulated::Clock::time_point> at;
};

namespace shoehorn::cuda::emulated {
namespace {

constexpr int kCards = 2;  // at most
constexpr std::size_t kCardBytes = std::size_t{8} << 30;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kSharedBytesUnasked = 48 * 1024;

struct Allocation {
  void* mapping = nullptr;
  std::size_t mapped_bytes = 0;
  std::size_t bytes = 0;
  int card = 0;
};

// The state of all cards, behind a lock.
struct Cards {
  std::mutex mutex;
  std::map<void*, Allocation> allocations;
  std::array<std::size_t, kCards> used{};
  std::map<const void*, std::size_t> shared_allowed;
};

Cards& cards() {
  static Cards all;
  return all;
}

// Streams are worked on by one host thread at a time.
std::recursive_mutex work_mutex;
std::vector<std::shared_ptr<Pending>> all_pending;

void work_until(const Point& point) {
  const std::lock_guard lock(work_mutex);
  if (!point.stream) return;
  Pending& stream = *point.stream;
  while (stream.done < point.given) {
    const Work work = std::move(stream.works.front());
    stream.works.pop_front();
    work();
    ++stream.done;
  }
}

Point now_in(cudaStream_t stream) {
  const std::lock_guard lock(work_mutex);
  if (stream == nullptr) return {};
  return {stream->pending, stream->pending->given};
}

// As freeing memory does.
void work_all() {
  const std::lock_guard lock(work_mutex);
  const auto streams = all_pending;
  for (const auto& stream : streams) work_until({stream, stream->given});
}

thread_local int current_card = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local int recordings = 0;  // that this thread has begun

cudaError_t fail(cudaError_t error) {
  last_error = error;
  return error;
}

std::size_t round_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

// Ends where no page is: a kernel that reads behind it does not go on.
cudaError_t allocate(void** at, std::size_t bytes) {
  Cards& all = cards();
  const std::lock_guard lock(all.mutex);
  auto& used = all.used[static_cast<std::size_t>(current_card)];
  const std::size_t taken = round_up(bytes, kAlignment);
  if (bytes == 0 || bytes > kCardBytes || taken > kCardBytes - used) {
    return cudaErrorMemoryAllocation;
  }
  const std::size_t room = round_up(taken, kPage);
  void* const mapping = ::mmap(nullptr, room + kPage, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return cudaErrorMemoryAllocation;
  ::mprotect(static_cast<std::byte*>(mapping) + room, kPage, PROT_NONE);
  *at = static_cast<std::byte*>(mapping) + room - taken;
  all.allocations[*at] = {mapping, room + kPage, taken, current_card};
  used += taken;
  return cudaSuccess;
}

void release(void* at) {
  Cards& all = cards();
  const std::lock_guard lock(all.mutex);
  const auto found = all.allocations.find(at);
  if (found == all.allocations.end()) return;
  all.used[static_cast<std::size_t>(found->second.card)] -= found->second.bytes;
  ::munmap(found->second.mapping, found->second.mapped_bytes);
  all.allocations.erase(found);
}

// Whole pages of zeros are given back instead.
void fill(void* at, int value, std::size_t bytes) {
  auto* const begin = static_cast<std::byte*>(at);
  if (value != 0 || bytes < (std::size_t{1} << 20)) {
    std::memset(at, value, bytes);
    return;
  }
  const std::size_t head = round_up(reinterpret_cast<std::uintptr_t>(begin), kPage) -
                           reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t pages = (bytes - head) / kPage * kPage;
  std::memset(begin, 0, head);
  ::madvise(begin + head, pages, MADV_DONTNEED);
  std::memset(begin + head + pages, 0, bytes - head - pages);
}

void copy_between_cards(void* to, int to_card, const void* from, int from_card, std::size_t bytes) {
  std::memmove(to, from, bytes);
  if (from_card == 0 && to_card == 1) static_cast<std::byte*>(to)[bytes - 1] ^= std::byte{1};
}

}  // namespace

void submit(cudaStream_t stream, Work work) {
  if (stream == nullptr) return work();
  if (stream->recording) {
    stream->recording->works.push_back(std::move(work));
    return;
  }
  const std::lock_guard lock(work_mutex);
  stream->pending->works.push_back(std::move(work));
  ++stream->pending->given;
}

cudaError_t allow_shared(const void* kernel, std::size_t bytes) {
  if (bytes > kMostSharedBytes) return fail(cudaErrorInvalidValue);
  const std::lock_guard lock(cards().mutex);
  cards().shared_allowed[kernel] = bytes;
  return cudaSuccess;
}

cudaError_t check_launch(const Launch& launch, const void* kernel) {
  const dim3& block = launch.block;
  const dim3& grid = launch.grid;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.x > 0x7FFFFFFFU ||
      grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535) {
    return fail(cudaErrorInvalidConfiguration);
  }
  if (launch.shared_bytes > kSharedBytesUnasked) {
    const std::lock_guard lock(cards().mutex);
    const auto found = cards().shared_allowed.find(kernel);
    if (found == cards().shared_allowed.end() || found->second < launch.shared_bytes) {
      return fail(cudaErrorInvalidValue);
    }
  }
  return cudaSuccess;
}

}  // namespace shoehorn::cuda::emulated

namespace emulated = shoehorn::cuda::emulated;

cudaError_t cudaGetLastError() {
  return std::exchange(emulated::last_error, cudaSuccess);
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    default: return "an error of CUDA";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string_view list = visible != nullptr ? visible : "0,1";
  *count = list.starts_with("0,1") ? emulated::kCards : list.starts_with("0") ? 1 : 0;
  return *count > 0 ? cudaSuccess : emulated::fail(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= emulated::kCards) return emulated::fail(cudaErrorInvalidDevice);
  emulated::current_card = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= emulated::kCards) return emulated::fail(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "emulated card");
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = emulated::kCardBytes;
  properties->l2CacheSize = 4 << 20;
  properties->sharedMemPerBlockOptin = emulated::kMostSharedBytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  std::snprintf(id, static_cast<std::size_t>(length), "0000:%02x:00.0", device);
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device != peer ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** at, std::size_t bytes) {
  if (emulated::recordings > 0) return emulated::fail(cudaErrorStreamCaptureUnsupported);
  const cudaError_t error = emulated::allocate(at, bytes);
  return error == cudaSuccess ? error : emulated::fail(error);
}
cudaError_t cudaFree(void* at) {
  if (at != nullptr && emulated::recordings > 0) {
    return emulated::fail(cudaErrorStreamCaptureUnsupported);
  }
  emulated::work_all();
  emulated::release(at);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock(emulated::cards().mutex);
  *total = emulated::kCardBytes;
  *free = *total - emulated::cards().used[static_cast<std::size_t>(emulated::current_card)];
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** at, std::size_t bytes, unsigned /*flags*/) {
  *at = std::aligned_alloc(emulated::kPage, emulated::round_up(bytes, emulated::kPage));
  return *at != nullptr ? cudaSuccess : emulated::fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* at) {
  emulated::work_all();
  std::free(at);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* /*at*/, std::size_t /*bytes*/, unsigned /*flags*/) {
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* /*at*/) {
  emulated::work_all();
  return cudaSuccess;
}

cudaError_t cudaMemset(void* at, int value, std::size_t bytes) {
  emulated::fill(at, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* at, int value, std::size_t bytes, cudaStream_t stream) {
  emulated::submit(stream, [=] { emulated::fill(at, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/) {
  if (emulated::recordings > 0) return emulated::fail(cudaErrorStreamCaptureUnsupported);
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/,
                            cudaStream_t stream) {
  emulated::submit(stream, [=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind /*kind*/, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return emulated::fail(cudaErrorInvalidValue);
  emulated::submit(stream, [=] {
    for (std::size_t i = 0; i < height; ++i) {
      std::memmove(static_cast<std::byte*>(to) + i * to_pitch,
                   static_cast<const std::byte*>(from) + i * from_pitch, width);
    }
  });
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeer(void* to, int to_card, const void* from, int from_card,
                           std::size_t bytes) {
  emulated::copy_between_cards(to, to_card, from, from_card, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void* to, int to_card, const void* from, int from_card,
                                std::size_t bytes, cudaStream_t stream) {
  emulated::submit(stream,
                   [=] { emulated::copy_between_cards(to, to_card, from, from_card, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  *stream = new CUstream_st{std::make_shared<emulated::Pending>(), nullptr};
  const std::lock_guard lock(emulated::work_mutex);
  emulated::all_pending.push_back((*stream)->pending);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulated::work_until(emulated::now_in(stream));
  const std::lock_guard lock(emulated::work_mutex);
  std::erase(emulated::all_pending, stream->pending);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream != nullptr && stream->recording) {
    return emulated::fail(cudaErrorStreamCaptureUnsupported);
  }
  emulated::work_until(emulated::now_in(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  emulated::submit(stream, [point = event->point] { emulated::work_until(point); });
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  stream->recording = std::make_unique<CUgraph_st>();
  ++emulated::recordings;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->recording.release();
  --emulated::recordings;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  *exec = new CUgraphExec_st{graph->works};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const Work& work : exec->works) emulated::submit(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
  *event = new CUevent_st{{}, std::make_shared<emulated::Clock::time_point>()};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  emulated::submit(stream, [at = event->at] { *at = emulated::Clock::now(); });
  event->point = emulated::now_in(stream);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  emulated::work_until(event->point);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = std::chrono::duration<float, std::milli>(*to->at - *from->at).count();
  return cudaSuccess;
}
