#include "shoehorn/convert.h"

#include <chrono>

#include "shoehorn/error.h"

#include "api/folder_writer.h"
#include "plan/size_string.h"

namespace shoehorn {

ConvertReport convert(const std::string& model, const std::filesystem::path& out,
                      const ConvertOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  parse_size(options.max_shard_size);  // a bad one is said before the work
  const auto& quantization = options.load.quantization_config;
  if (quantization && (quantization->load_in_8bit || quantization->load_in_4bit)) {
    throw ArgumentError("convert writes plain weights; quantize writes 8 and 4 bits");
  }
  refuse_tiers(options.load, "convert");
  const OpenedModel opened = open_model(model, options.load);
  const QuantizeReport written = write_model_folder(
      opened, {.load = options.load, .max_shard_size = options.max_shard_size, .dequantize = true},
      out);
  ConvertReport report;
  report.read_bytes = written.read_bytes;
  report.written_bytes = written.written_bytes;
  report.tensors = written.quantized + written.kept;
  report.dequantized = written.quantized;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace shoehorn
