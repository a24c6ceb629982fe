#include "load_flags.h"

#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "shoehorn/error.h"

#include "checks.h"
#include "load_progress.h"

namespace shoehorn::cli {
namespace {

/// "A=B,C=D".
std::map<std::string, std::string> parse_pairs(const std::string& option, const std::string& text,
                                               const std::string& what,
                                               const std::string& example) {
  std::map<std::string, std::string> pairs;
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == item.size()) {
      throw ArgumentError(option + " " + text + ": \"" + item + "\" is not " + what +
                          "; write for example " + example);
    }
    const std::string device = item.substr(0, equals);
    if (!pairs.emplace(device, item.substr(equals + 1)).second) {
      throw ArgumentError(option + " names " + device + " twice");
    }
  }
  return pairs;
}

}  // namespace

namespace {

/// "DIR" or "DIR=0.5". A folder's own name may have an equals sign, if no number follows it.
AdapterOptions parse_adapter(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos) return {.path = text};
  double scale = 0;
  const char* const begin = text.data() + equals + 1;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), scale);
  if (error != std::errc() || end != text.data() + text.size()) return {.path = text};
  if (!std::isfinite(scale)) throw ArgumentError("--adapter " + text + ": the scale is no number");
  return {.path = text.substr(0, equals), .scale = scale};
}

}  // namespace

LoadOptions LoadFlags::load() const {
  if (model.empty()) throw ArgumentError("name a MODEL, or a shape with --synthetic");
  LoadOptions result = options;
  result.max_memory = parse_pairs("--max-memory", max_memory, "DEVICE=SIZE", "0=10GiB,cpu=6GiB");
  result.tier_dtype = parse_pairs("--tier-dtype", tier_dtype, "DEVICE=TYPE", "disk=nf4,cpu=int8");
  std::istringstream classes(no_split);
  for (std::string name; std::getline(classes, name, ',');) {
    if (!name.empty()) result.no_split_module_classes.push_back(name);
  }
  for (const std::string& adapter : adapters) result.adapters.push_back(parse_adapter(adapter));
  result.quantization_config = quantization;
  if (!compute_dtype.empty()) result.quantization_config->bnb_4bit_compute_dtype = compute_dtype;
  if (says_threshold) result.quantization_config->llm_int8_threshold = threshold;
  const auto bar = std::make_shared<LoadProgress>();
  result.on_progress = [bar](const std::string& what, std::uint64_t done, std::uint64_t total) {
    bar->update(what, done, total);
  };
  result.on_note = [bar](const std::string& note) { bar->note(note); };
  if (quantization.load_in_4bit && !says_quant_type) {
    bar->note("--load-in-4bit is fp4, as in transformers; --bnb-4bit-quant-type nf4 loses less");
  }
  return result;
}

namespace {

void add_quantization_flags(CLI::App& command, LoadFlags& flags) {
  BitsAndBytesConfig& q = flags.quantization;
  LoadOptions& o = flags.options;
  const std::string group = "Quantization (bitsandbytes)";
  CLI::Option* int8 = command.add_flag("--load-in-8bit", q.load_in_8bit, "LLM.int8()");
  int8->group(group);
  command.add_flag("--load-in-4bit", q.load_in_4bit, "FP4 or NF4")->excludes(int8)->group(group);
  command
      .add_option_function<std::string>(
          "--bnb-4bit-quant-type",
          [&flags](const std::string& type) {
            flags.quantization.bnb_4bit_quant_type = type;
            flags.says_quant_type = true;
          },
          "fp4 or nf4")
      ->check(CLI::IsMember({"fp4", "nf4"}))
      ->group(group);
  command
      .add_flag("--bnb-4bit-use-double-quant", q.bnb_4bit_use_double_quant,
                "Scales in 8 bits as well: 4.13 bits a weight in place of 4.5")
      ->group(group);
  command
      .add_option("--bnb-4bit-compute-dtype", flags.compute_dtype,
                  "What 4-bit weights are multiplied in; int8: activations are quantized too")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16", "int8"}))
      ->group(group);
  command
      .add_option("--bnb-4bit-quant-storage", q.bnb_4bit_quant_storage,
                  "What packed bytes are called in a file")
      ->check(CLI::IsMember({"uint8", "int8", "float16", "bfloat16", "float32", "float64"}))
      ->group(group);
  command
      .add_option_function<double>(
          "--llm-int8-threshold",
          [&flags](double threshold) {
            flags.threshold = threshold;
            flags.says_threshold = true;
          },
          "Activations from it on stay floats; 0: none do (default 6)")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command
      .add_option("--llm-int8-skip-modules", q.llm_int8_skip_modules,
                  "Modules to leave alone, A,B: ends of names, or regular expressions for starts; "
                  "beside the head and what is tied")
      ->delimiter(',')
      ->group(group);
  command
      .add_flag("--llm-int8-skip-modules-replace", q.llm_int8_skip_modules_replace,
                "The list replaces the default skips, as transformers reads it")
      ->group(group);
  command
      .add_flag("--llm-int8-has-fp16-weight", q.llm_int8_has_fp16_weight,
                "8 bit: leave weights as they are")
      ->group(group);
  command
      .add_flag("--llm-int8-enable-fp32-cpu-offload", q.llm_int8_enable_fp32_cpu_offload,
                "Accepted: quantized weights run anywhere without it")
      ->group(group);
  command
      .add_option("--bnb-parity", o.bnb_parity,
                  "Whose rule where bitsandbytes differs from itself: none (the better), cpu, cuda")
      ->check(CLI::IsMember({"none", "cpu", "cuda"}))
      ->group(group);
  command
      .add_option("--offload-folder", o.offload_folder,
                  "Where weights that are quantized here and streamed are kept")
      ->group(group);
  command
      .add_flag("--verify-weights", o.verify_weights,
                "Compare what is streamed with the first time it was read")
      ->group(group);
  command
      .add_option("--offload-cache-limit", o.offload_cache_limit,
                  "At most so much is kept there, e.g. 50GiB; the least recently used goes first")
      ->group(group);
}

}  // namespace

void add_load_flags(CLI::App& command, LoadFlags& flags) {
  LoadOptions& o = flags.options;
  CLI::Option* model =
      command.add_option("MODEL", flags.model,
                         "A folder, a .safetensors or .gguf file, or org/name in the hub's cache");
  const std::string group = "Placement and types";
  command
      .add_option("--adapter", flags.adapters,
                  "A LoRA adapter's folder, =X for X times its strength; repeatable")
      ->group(group)
      ->allow_extra_args(false);
  CLI::Option* config =
      command.add_option("--config", o.config, "Another config.json than the checkpoint's");
  config->group(group);
  command
      .add_option_function<std::string>(
          "--synthetic",
          [&flags](const std::string& shape) {
            flags.model = shape;
            flags.options.synthetic = true;
          },
          "In place of MODEL: a shape (llama-3-8b, ...) or a config.json, with weights from a seed")
      ->excludes(model)
      ->excludes(config)
      ->group(group);
  command.add_option("--synthetic-seed", o.synthetic_seed, "Other weights of that shape")
      ->needs("--synthetic")
      ->group(group);
  command
      .add_option("--device-map", o.device_map,
                  "auto, balanced, balanced_low_0, sequential, a device (cpu, disk, virtual:0), or "
                  "FILE.json")
      ->group(group);
  command
      .add_option("--max-memory", flags.max_memory,
                  "Limits, e.g. 0=10GiB,cpu=6GiB; without it 90 % of what is free")
      ->group(group);
  command.add_option("--planner", o.planner, "Who places: shoehorn, accelerate or transformers")
      ->check(CLI::IsMember({"shoehorn", "accelerate", "transformers"}))
      ->group(group);
  command
      .add_option("--no-split-module-classes", flags.no_split,
                  "Class names that no boundary may cut, beside the architecture's own")
      ->group(group);
  command.add_option("--dtype,--torch-dtype", o.dtype, "Type of the weights in memory")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->group(group);
  command
      .add_option("--tier-dtype", flags.tier_dtype,
                  "Linear weights by where they live, e.g. disk=nf4,cpu=int8: auto, float32, "
                  "bfloat16, float16, int8, nf4, fp4")
      ->group(group);
  command.add_option("--kv-dtype", o.kv_dtype, "Type of the KV cache")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16", "int8"}))
      ->group(group);
  command
      .add_option("--max-context", o.max_context,
                  "Positions to plan for; default: the model's maximum, at most 4096")
      ->check(kCount)
      ->group(group);
  command.add_option("--max-batch", o.max_batch, "Sequences that advance together")
      ->check(kCount)
      ->group(group);
  command
      .add_option("--link-share", o.link_share,
                  "Share of the layers in host memory that comes to a CUDA device for every short\n"
                  "pass, the CPU computing the others; default: what lets both take equally long")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  command
      .add_option("--threads", o.threads, "Threads; default: what affinity and cgroup quota allow")
      ->check(kCount)
      ->group(group);
  command.add_flag("--strict", o.strict, "Unexpected tensors are an error")->group(group);
  add_quantization_flags(command, flags);
}

}  // namespace shoehorn::cli
