// Reads tensors that are strided views of their storage (transposed, sliced, broadcast) as packed
// rows, without holding more than the rows that were asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/file.h"
#include "checkpoint/tensor_info.h"

namespace shoehorn {

/// Fills `out` with rows [first, first + count) of `info`, packed in row-major order as if it were
/// stored so. Rows are those of dimension 0; tensors of rank 0 and 1 are one row. Reads runs along
/// the dimension that lies densest in the file: a transposed matrix takes a read for each of its
/// columns. Throws FileError.
void read_strided_rows(const File& file, const TensorInfo& info, std::int64_t first,
                       std::int64_t count, std::span<std::byte> out);

}  // namespace shoehorn
