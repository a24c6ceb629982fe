#include "cuda/queue.h"

#include <cuda_runtime_api.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/blas.h"
#include "cuda/check.h"

namespace shoehorn::cuda {
namespace {

const Card& card_of(int ordinal) {
  for (const Card& card : find_cards().cards) {
    if (card.ordinal == ordinal) return card;
  }
  throw DeviceError(str_cat("CUDA card ", ordinal, " is not there"));
}

}  // namespace

Queue::Queue(int ordinal) : card_(&card_of(ordinal)) {
  context_bytes(ordinal);  // measured while nothing else is allocated
  make_current();
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate", ordinal);
}

Queue::~Queue() {
  blas_.reset();
  cudaStreamDestroy(stream_);
}

void Queue::make_current() const {
  check(cudaSetDevice(ordinal()), "cudaSetDevice", ordinal());
}

void Queue::synchronize() const {
  check(cudaStreamSynchronize(stream_), "waiting for the card's work", ordinal());
}

Blas& Queue::blas() {
  if (!blas_) blas_ = std::make_unique<Blas>(*this);
  return *blas_;
}

Event::Event(int ordinal, bool timing) : ordinal_(ordinal) {
  check(cudaSetDevice(ordinal), "cudaSetDevice", ordinal);
  check(cudaEventCreateWithFlags(&event_, timing ? cudaEventDefault : cudaEventDisableTiming),
        "cudaEventCreate", ordinal);
}

Event::~Event() {
  cudaEventDestroy(event_);
}

void Event::record(const Queue& queue) {
  check(cudaEventRecord(event_, queue.stream()), "cudaEventRecord", ordinal_);
}

void Event::hold(const Queue& queue) const {
  check(cudaStreamWaitEvent(queue.stream(), event_, 0), "cudaStreamWaitEvent", queue.ordinal());
}

void Event::wait() const {
  check(cudaEventSynchronize(event_), "cudaEventSynchronize", ordinal_);
}

double elapsed_ms(const Event& from, const Event& to) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, from.event_, to.event_), "cudaEventElapsedTime", from.ordinal_);
  return ms;
}

}  // namespace shoehorn::cuda
