#include "load_flags.h"

#include <memory>
#include <sstream>

#include "shoehorn/error.h"

#include "load_progress.h"

namespace shoehorn::cli {

LoadOptions LoadFlags::load() const {
  LoadOptions result = options;
  std::istringstream items(max_memory);
  for (std::string item; std::getline(items, item, ',');) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == item.size()) {
      throw ArgumentError("--max-memory " + max_memory + ": \"" + item +
                          "\" is not DEVICE=SIZE; write for example 0=10GiB,cpu=6GiB");
    }
    const std::string device = item.substr(0, equals);
    if (!result.max_memory.emplace(device, item.substr(equals + 1)).second) {
      throw ArgumentError("--max-memory names " + device + " twice");
    }
  }
  std::istringstream classes(no_split);
  for (std::string name; std::getline(classes, name, ',');) {
    if (!name.empty()) result.no_split_module_classes.push_back(name);
  }
  const auto bar = std::make_shared<LoadProgress>();
  result.on_progress = [bar](const std::string& what, std::uint64_t done, std::uint64_t total) {
    bar->update(what, done, total);
  };
  result.on_note = [bar](const std::string& note) { bar->note(note); };
  return result;
}

void add_load_flags(CLI::App& command, LoadFlags& flags) {
  LoadOptions& o = flags.options;
  command
      .add_option("MODEL", flags.model,
                  "A folder, a .safetensors or .gguf file, or org/name in the hub's cache")
      ->required();
  const std::string group = "Placement and types";
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
  command.add_option("--kv-dtype", o.kv_dtype, "Type of the KV cache")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->group(group);
  command
      .add_option("--max-context", o.max_context,
                  "Positions to plan for; default: the model's maximum, at most 4096")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command.add_option("--max-batch", o.max_batch, "Sequences that advance together")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command
      .add_option("--threads", o.threads, "Threads; default: what affinity and cgroup quota allow")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command.add_option("--config", o.config, "Another config.json than the checkpoint's")
      ->group(group);
  command.add_flag("--strict", o.strict, "Unexpected tensors are an error")->group(group);
}

}  // namespace shoehorn::cli
