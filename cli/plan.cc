// shoehorn plan: where everything would go, and how fast that would run.

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "shoehorn/shoehorn.h"

#include "commands.h"
#include "load_flags.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct PlanFlags {
  LoadFlags load;
  PlanOptions plan;
  std::string tree;
  std::string svg;
  bool json = false;
  bool explain = false;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FileError(path, "cannot be opened");
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(const PlanFlags& flags) {
  if (!flags.tree.empty()) {
    std::cout << plan_cases(read_file(flags.tree)) << '\n';
    return;
  }
  if (flags.load.model.empty()) throw ArgumentError("plan needs MODEL, or --tree CASES.json");
  const PlanReport report = plan(flags.load.model, flags.load.load(), flags.plan);
  if (!flags.svg.empty()) {
    std::ofstream file(flags.svg, std::ios::binary);
    file << report.svg;
    file.close();
    if (!file) throw FileError(flags.svg, "cannot be written");
  }
  if (flags.json) {
    std::cout << report.json << '\n';
  } else {
    std::cout << (shows_unicode() ? report.text : report.text_ascii);
    if (flags.explain) {
      std::cout << '\n' << (shows_unicode() ? report.explain : report.explain_ascii);
    }
  }
}

}  // namespace

void add_plan(CLI::App& app) {
  auto flags = std::make_shared<PlanFlags>();
  CLI::App* command = app.add_subcommand(
      "plan",
      "Shows where everything would go, without loading it\n\n"
      "  shoehorn plan MODEL --max-memory cpu=6GiB\n"
      "  shoehorn plan MODEL --max-memory 0=80GiB,cpu=100GiB --assume 0=80GiB@4.3TB/s,link=50GB/s\n"
      "  shoehorn plan MODEL --svg plan.svg\n"
      "  shoehorn plan --tree CASES.json --json");
  add_load_flags(*command, flags->load);
  command->add_option("--assume", flags->plan.assume,
                      "Devices and rates to assume: 0=80GiB@4.3TB/s,link=50GB/s,disk=2GB/s");
  PlannedGeneration& planned = flags->load.options.planned;
  command->add_option("--num-beams", planned.num_beams,
                      "Room for a beam search; default: what generation_config.json asks for");
  command->add_option("--num-return-sequences", planned.num_return_sequences,
                      "Room for so many continuations; default likewise");
  command->add_option("--svg", flags->svg, "Writes a picture of the plan to this file");
  command->add_option("--tree", flags->tree, "Plans every case of a JSON file, see docs/cli.md");
  command->add_flag("--explain", flags->explain,
                    "A row for each layer: where it lives and runs, what it reads, milliseconds");
  command->add_flag("--json", flags->json, "Prints JSON, the rows of --explain included");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
