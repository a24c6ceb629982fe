// Any bytes as a safetensors file of quantized weights: refused with an Error, or every part of
// every weight lies inside the weight's bytes in memory and has the size that its tensor has.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include <unistd.h>

#include "shoehorn/error.h"

#include "base/written_file.h"
#include "checkpoint/quantized_tensor.h"
#include "checkpoint/safetensors_header.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const shoehorn::QuantizedTensor& tensor) {
  const auto bytes = shoehorn::form_bytes(tensor.form, tensor.shape);
  require(bytes.has_value());
  for (const shoehorn::QuantizedPart& part : tensor.parts) {
    require(part.offset <= *bytes && part.bytes <= *bytes - part.offset);
    if (part.kind == shoehorn::QuantizedPart::Kind::kBytes) require(part.bytes == part.info->bytes);
    if (part.kind != shoehorn::QuantizedPart::Kind::kMxfp4) continue;
    require(part.info->bytes == 16 * part.scales->bytes && part.bytes == 17 * part.scales->bytes);
  }
  for (const shoehorn::QuantizedConstant& constant : tensor.constants) {
    require(constant.offset + constant.values.size() * sizeof(float) <= *bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("shoehorn-fuzz-" + std::to_string(::getpid()));
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    shoehorn::Checkpoint::Parts parts;
    parts.tensors = shoehorn::parse_safetensors(bytes, "fuzz.safetensors").tensors;
    shoehorn::WrittenFile file(path);
    file.write(bytes);
    file.commit();
    parts.path = path;
    parts.files.emplace_back(path);
    const shoehorn::Checkpoint checkpoint(std::move(parts));
    const shoehorn::QuantizedTensors tensors(checkpoint);
    for (const auto& tensor : tensors.all()) check(*tensor);
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
