#include "shoehorn/quantize.h"

#include <chrono>

#include "shoehorn/error.h"

#include "api/folder_writer.h"
#include "base/str_cat.h"
#include "plan/size_string.h"

namespace shoehorn {
namespace {

void require_request(const OpenedModel& opened, const QuantizeOptions& options,
                     const std::string& model) {
  if (options.dequantize) {
    if (!opened.resolved.quantized_checkpoint) {
      throw ArgumentError(model + " is not quantized: there is nothing to dequantize");
    }
    return;
  }
  if (opened.resolved.quantized_checkpoint) {
    throw ArgumentError(str_cat(model, " is quantized already (", opened.resolved.quantization(),
                                "): --dequantize makes a plain checkpoint of it"));
  }
  if (opened.resolved.quant_type == QuantType::kNone) {
    const auto& kept = opened.resolved.kept_linears;
    throw ArgumentError(kept.empty()
                            ? "nothing to quantize: give --load-in-8bit or --load-in-4bit"
                            : str_cat("nothing to quantize: all ", kept.size(),
                                      " linear modules are left alone (", kept.begin()->first, ": ",
                                      kept.begin()->second, ")"));
  }
}

}  // namespace

QuantizeReport quantize(const std::string& model, const std::filesystem::path& out,
                        const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  parse_size(options.max_shard_size);  // a bad one is said before the work
  refuse_tiers(options.load, "quantize");
  const OpenedModel opened = open_model(model, options.load);
  require_request(opened, options, model);
  QuantizeReport report = write_model_folder(opened, options, out);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace shoehorn
