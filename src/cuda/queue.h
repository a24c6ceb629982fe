// Where the work of one CUDA device of a device map goes: a stream of its card, in order.
#pragma once

#include <memory>

#include "cuda/card.h"

struct CUstream_st;  // what cudaStream_t points to
struct CUevent_st;   // what cudaEvent_t points to

namespace shoehorn::cuda {

class Blas;

/// A stream. Several logical devices may share a card; each has queues of its own.
/// Thread-compatible.
class Queue {
 public:
  /// Makes a stream on a card of find_cards(). Throws DeviceError.
  explicit Queue(int ordinal);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const Card& card() const { return *card_; }
  int ordinal() const { return card_->ordinal; }
  CUstream_st* stream() const { return stream_; }
  /// Makes the card current for the calling thread: before kernels are launched from it.
  void make_current() const;
  /// Waits until everything submitted so far is done. Throws what it met.
  void synchronize() const;
  /// cuBLASLt on this card, opened on first use. Throws DeviceError where the library is missing.
  Blas& blas();

 private:
  const Card* card_;
  CUstream_st* stream_ = nullptr;
  std::unique_ptr<Blas> blas_;
};

/// A point in a queue's work.
class Event {
 public:
  /// With `timing`, elapsed_ms() can be asked.
  explicit Event(int ordinal, bool timing = false);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Queue& queue);
  /// Later work of the queue waits for the recorded point, on any card.
  void hold(const Queue& queue) const;
  /// The host waits.
  void wait() const;

  friend double elapsed_ms(const Event& from, const Event& to);

 private:
  int ordinal_;
  CUevent_st* event_ = nullptr;
};

/// Milliseconds between two events made with `timing` that have both happened.
double elapsed_ms(const Event& from, const Event& to);

}  // namespace shoehorn::cuda
