// Takes the place of the CUDA devices in a build without the toolkit: there are no cards, and since
// nothing else is ever asked for then, everything else refuses.
#include <utility>

#include "shoehorn/error.h"

#include "cuda/blas.h"
#include "cuda/card.h"
#include "cuda/check.h"
#include "cuda/graph.h"
#include "cuda/memory.h"
#include "cuda/queue.h"

namespace shoehorn::cuda {
namespace {

[[noreturn]] void refuse() {
  throw DeviceError("this shoehorn was built without CUDA");
}

}  // namespace

struct Blas::Impl {};

const Cards& find_cards() {
  static const Cards none{.cards = {}, .why_none = "this shoehorn was built without CUDA"};
  return none;
}
std::size_t free_bytes(int /*ordinal*/) {
  refuse();
}
std::size_t context_bytes(int /*ordinal*/) {
  refuse();
}

void check(int /*error*/, std::string_view /*call*/, int /*ordinal*/, std::size_t /*bytes*/) {
  refuse();
}

Queue::Queue(int /*ordinal*/) : card_(nullptr) {
  refuse();
}
Queue::~Queue() = default;
void Queue::make_current() const {
  refuse();
}
void Queue::synchronize() const {
  refuse();
}
Blas& Queue::blas() {
  refuse();
}

Event::Event(int ordinal, bool /*timing*/) : ordinal_(ordinal) {
  refuse();
}
Event::~Event() = default;
void Event::record(const Queue& /*queue*/) {
  refuse();
}
void Event::hold(const Queue& /*queue*/) const {
  refuse();
}
void Event::wait() const {
  refuse();
}
double elapsed_ms(const Event& /*from*/, const Event& /*to*/) {
  refuse();
}

CardMemory::CardMemory(int ordinal, std::size_t bytes) : ordinal_(ordinal), bytes_(bytes) {
  refuse();
}
CardMemory::~CardMemory() = default;
CardMemory::CardMemory(CardMemory&& other) noexcept = default;
CardMemory& CardMemory::operator=(CardMemory&& other) noexcept = default;

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  refuse();
}
PinnedMemory::~PinnedMemory() = default;
PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept = default;
PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept = default;

PinnedRange::PinnedRange(std::span<std::byte> /*memory*/) {
  refuse();
}
PinnedRange::~PinnedRange() = default;
PinnedRange::PinnedRange(PinnedRange&& other) noexcept = default;
PinnedRange& PinnedRange::operator=(PinnedRange&& other) noexcept = default;

void copy_async(const Queue& /*queue*/, void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  refuse();
}
void copy_runs_async(const Queue& /*queue*/, void* /*to*/, const void* /*from*/,
                     const StridedRuns& /*runs*/) {
  refuse();
}
void upload(const Queue& /*queue*/, void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  refuse();
}
void download(const Queue& /*queue*/, void* /*to*/, const void* /*from*/, std::size_t /*bytes*/) {
  refuse();
}
void copy_between(const Queue& /*to_queue*/, void* /*to*/, const Queue& /*from_queue*/,
                  const void* /*from*/, std::size_t /*bytes*/) {
  refuse();
}
void fill_async(const Queue& /*queue*/, void* /*to*/, unsigned char /*value*/,
                std::size_t /*bytes*/) {
  refuse();
}

Graph::Graph(Queue& queue, const std::function<void()>& /*work*/) : ordinal_(queue.ordinal()) {
  refuse();
}
Graph::~Graph() = default;
void Graph::launch(const Queue& /*queue*/) const {
  refuse();
}

Blas::Blas(Queue& /*queue*/) {
  refuse();
}
Blas::~Blas() = default;
bool Blas::try_product(DType /*dtype*/, const MatrixProduct& /*product*/) {
  refuse();
}
void Blas::product(DType /*dtype*/, const MatrixProduct& /*product*/) {
  refuse();
}
bool Blas::try_int8_product(const MatrixProduct& /*product*/) {
  refuse();
}

}  // namespace shoehorn::cuda
