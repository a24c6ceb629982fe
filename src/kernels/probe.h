// What this machine can do, in the terms that people know it by: the limits that predictions are
// made from and results are held against. Reading is one sequential stream a thread with no
// prefetch but the processor's own, as STREAM does it, and arithmetic a chain of multiply-adds in
// registers. A kernel that reads several streams with software prefetch may exceed the former:
// measured once, 37 against 31 GB/s.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "kernels/exec_context.h"

namespace shoehorn {

/// Bytes per second at which the pool's threads together read `buffer` in order, read over and over
/// until `least_bytes` have passed; the median of the passes. A buffer smaller than the caches
/// measures the caches.
double measure_read_bandwidth(ThreadPool& pool, std::span<const std::byte> buffer,
                              std::size_t least_bytes, Isa isa);

/// The same over a buffer of `bytes` of its own, which it fills first (1 GiB or more to get past
/// the caches), reading at least 3 GB. Throws DeviceError if there is no room.
double measure_read_bandwidth(ThreadPool& pool, std::size_t bytes, Isa isa);

/// Floating point operations per second (a multiply-add is two) of float32 multiply-adds on all of
/// the pool's threads, nothing but registers involved; the median of several runs of about 10 ms.
double measure_f32_flops(ThreadPool& pool, Isa isa);

/// The same in units of 10^9.
double measure_f32_gflops(ThreadPool& pool, Isa isa);

}  // namespace shoehorn
