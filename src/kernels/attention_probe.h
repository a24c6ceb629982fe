// How long the CPU takes to attend, measured on a made-up cache: beside product_probe.h, the other
// part of a pass that grows with the model.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// One layer's attention in one sequence.
struct AttentionShape {
  DType kv_dtype = DType::kF32;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;       // where that is not head_dim; else 0
  std::int64_t sliding_window = 0;  // keys that a query sees, itself included; 0: all
};

/// How many pairs of a query and a key it sees there are, where `queries` tokens come after `start`
/// others: what attention takes grows with them.
double attended_pairs(std::int64_t start, std::int64_t queries, std::int64_t sliding_window);

/// Seconds in which `queries` new tokens are stored and attend after `start` others. Over more than
/// `most_bytes` of cache it is measured over fewer positions and scaled. 0 where there is nothing
/// to measure.
double measure_attention_s(const AttentionShape& shape, std::int64_t start, std::int64_t queries,
                           std::size_t most_bytes, ThreadPool& pool, Isa isa);

}  // namespace shoehorn
