// shoehorn convert: a plain safetensors folder of any checkpoint that can be read.

#include <iomanip>
#include <iostream>
#include <memory>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checks.h"
#include "commands.h"
#include "load_flags.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct ConvertFlags {
  LoadFlags load;
  std::string out;
  ConvertOptions options;
  bool json = false;
};

void run(const ConvertFlags& flags) {
  ConvertOptions options = flags.options;
  options.load = flags.load.load();
  const ConvertReport report = convert(flags.load.model, flags.out, options);
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"out", flags.out},
                                        {"read_bytes", report.read_bytes},
                                        {"written_bytes", report.written_bytes},
                                        {"tensors", report.tensors},
                                        {"dequantized", report.dequantized},
                                        {"seconds", report.seconds}}
                     .dump()
              << '\n';
    return;
  }
  std::cout << flags.out << ": " << report.tensors << " tensors, " << human_bytes(report.read_bytes)
            << " -> " << human_bytes(report.written_bytes) << " in " << std::fixed
            << std::setprecision(1) << report.seconds << " s\n";
}

}  // namespace

void add_convert(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand(
      "convert",
      "Writes a plain safetensors folder of any model, as transformers saves it\n\n"
      "  shoehorn convert model.gguf OUT --dtype bfloat16\n"
      "  shoehorn convert FOLDER_WITH_PYTORCH_BIN OUT --max-shard-size 5GB\n"
      "  shoehorn convert FOLDER MERGED --adapter LORA_FOLDER");
  LoadOptions& load = flags->load.options;
  command
      ->add_option("MODEL", flags->load.model,
                   "A folder, a .safetensors, .bin or .gguf file, or org/name in the hub's cache")
      ->required();
  command->add_option("OUT", flags->out, "The folder to write; it must not exist")->required();
  command->add_option("--dtype,--torch-dtype", load.dtype, "Type of the weights; auto: as stored")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->capture_default_str();
  command
      ->add_option("--max-shard-size", flags->options.max_shard_size,
                   "Files are cut so that none is larger")
      ->capture_default_str();
  command
      ->add_option(
          "--adapter", flags->load.adapters,
          "A LoRA adapter to merge into the weights, =X for X times its strength; repeatable")
      ->allow_extra_args(false);
  command->add_option("--threads", load.threads, "Threads that decode")->check(kCount);
  command->add_option("--config", load.config, "Another config.json than the checkpoint's");
  command->add_flag("--strict", load.strict, "Unexpected tensors are an error");
  command->add_flag("--json", flags->json, "Prints one JSON object");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
