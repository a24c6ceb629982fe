// shoehorn doctor: what this machine is, what it can do, and what is wrong with it.

#include <iostream>
#include <memory>
#include <string>

#include "shoehorn/shoehorn.h"

#include "checks.h"
#include "commands.h"

namespace shoehorn::cli {

void add_doctor(CLI::App& app) {
  struct DoctorFlags {
    ProbeOptions probe;
    bool json = false;
  };
  auto flags = std::make_shared<DoctorFlags>();
  CLI::App* command = app.add_subcommand(
      "doctor",
      "Shows processor features, memory, limits, drive rate and GPUs, and what is wrong\n\n"
      "  shoehorn doctor\n"
      "  shoehorn doctor --file model.safetensors    measures the drive that holds the file");
  command->add_option("--file", flags->probe.file, "A large file on the drive to measure");
  command->add_option("--threads", flags->probe.threads, "Threads to measure with")->check(kCount);
  command->add_flag("--json", flags->json, "Prints JSON");
  command->callback([flags] {
    const MachineReport report = doctor(flags->probe);
    std::cout << (flags->json ? report.json : report.text);
    if (flags->json) std::cout << '\n';
  });
}

}  // namespace shoehorn::cli
