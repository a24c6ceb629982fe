// shoehorn quantize: a model folder in 8 or 4 bits that transformers + bitsandbytes open.

#include <iomanip>
#include <iostream>
#include <memory>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "commands.h"
#include "load_flags.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct QuantizeFlags {
  LoadFlags load;
  std::string out;
  QuantizeOptions options;
  bool json = false;
};

void run(const QuantizeFlags& flags) {
  QuantizeOptions options = flags.options;
  options.load = flags.load.load();
  const QuantizeReport report = quantize(flags.load.model, flags.out, options);
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"out", flags.out},
                                        {"read_bytes", report.read_bytes},
                                        {"written_bytes", report.written_bytes},
                                        {"quantized", report.quantized},
                                        {"kept", report.kept},
                                        {"seconds", report.seconds}}
                     .dump()
              << '\n';
    return;
  }
  std::cout << flags.out << ": " << report.quantized
            << (options.dequantize ? " weights dequantized, " : " weights quantized, ")
            << report.kept << " tensors kept, " << human_bytes(report.read_bytes) << " -> "
            << human_bytes(report.written_bytes) << " in " << std::fixed << std::setprecision(1)
            << report.seconds << " s\n";
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto flags = std::make_shared<QuantizeFlags>();
  CLI::App* command = app.add_subcommand(
      "quantize",
      "Writes a model in 8 or 4 bits, as transformers and bitsandbytes save it\n\n"
      "  shoehorn quantize MODEL OUT --load-in-4bit --bnb-4bit-quant-type nf4\n"
      "  shoehorn quantize MODEL OUT --load-in-8bit --max-memory cpu=2GiB\n"
      "  shoehorn quantize QUANTIZED OUT --dequantize --dtype bfloat16");
  flags->load.options.bnb_parity = flags->options.load.bnb_parity;
  flags->load.options.quantize_experts = false;
  add_load_flags(*command, flags->load);
  // OUT would be taken for MODEL; and there is nothing to keep of what a seed makes up again.
  command->remove_option(command->get_option("--synthetic-seed"));
  command->remove_option(command->get_option("--synthetic"));
  command->get_option("MODEL")->required();
  command->add_option("OUT", flags->out, "The folder to write; it must not exist")->required();
  command
      ->add_option("--max-shard-size", flags->options.max_shard_size,
                   "Files are cut so that none is larger")
      ->capture_default_str();
  command->add_flag("--dequantize", flags->options.dequantize,
                    "A quantized checkpoint becomes a plain one");
  command->add_flag("--quantize-experts", flags->load.options.quantize_experts,
                    "Of a mixture: its experts too; only shoehorn reads what that makes");
  command->add_flag("--json", flags->json, "Prints one JSON object");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
