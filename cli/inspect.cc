// shoehorn inspect: module tree, sizes per dtype, what fits on this machine.

#include <iostream>
#include <memory>

#include "shoehorn/shoehorn.h"

#include "commands.h"
#include "load_flags.h"

namespace shoehorn::cli {

void add_inspect(CLI::App& app) {
  struct InspectFlags {
    LoadFlags load;
    bool json = false;
  };
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Shows the module tree with sizes, what each dtype needs, and what fits on this machine\n\n"
      "  shoehorn inspect MODEL");
  add_load_flags(*command, flags->load);
  command->add_flag("--json", flags->json, "Prints JSON");
  command->callback([flags] {
    const InspectReport report = inspect(flags->load.model, flags->load.load());
    std::cout << (flags->json ? report.json : report.text);
    if (flags->json) std::cout << '\n';
  });
}

}  // namespace shoehorn::cli
