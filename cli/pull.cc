// shoehorn pull: a model from the hub into its local cache.

#include "shoehorn/pull.h"

#include <iostream>
#include <memory>
#include <mutex>
#include <string>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "load_progress.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct PullFlags {
  std::string model;
  PullOptions options;
  bool json = false;
};

void run(const PullFlags& flags) {
  PullOptions options = flags.options;
  const auto bar = std::make_shared<LoadProgress>();
  options.on_progress = [bar](std::uint64_t done, std::uint64_t total) {
    bar->update("fetching", done, total);
  };
  options.on_note = [bar](const std::string& note) { bar->note(note); };
  const PullReport report = pull(flags.model, options);
  if (flags.json) {
    const nlohmann::ordered_json json = {{"path", report.snapshot.string()},
                                         {"commit", report.commit},
                                         {"files", report.files},
                                         {"bytes", report.bytes},
                                         {"network_bytes", report.network_bytes},
                                         {"seconds", report.seconds}};
    std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    return;
  }
  std::cout << report.snapshot.string() << '\n';
  if (is_terminal(2)) {
    std::cerr << report.files.size() << " files, " << human_bytes(report.bytes) << ", "
              << human_bytes(report.network_bytes) << " of them fetched now\n"
              << "shoehorn run " << flags.model << " -p \"...\" runs it\n";
  }
}

}  // namespace

void add_pull(CLI::App& app) {
  auto flags = std::make_shared<PullFlags>();
  CLI::App* command = app.add_subcommand(
      "pull",
      "Fetches a model from the hub\n\n"
      "  shoehorn pull org/name\n"
      "  shoehorn pull org/name@revision --include '*Q4_K_M.gguf'\n\n"
      "It goes where huggingface_hub keeps models (HF_HOME, HF_HUB_CACHE); HF_TOKEN opens those\n"
      "that are not public, HF_ENDPOINT names another hub. Prints the model's folder.");
  command->add_option("MODEL", flags->model, "org/name, or org/name@revision")->required();
  PullOptions& o = flags->options;
  command
      ->add_option("--include", o.include,
                   "Files with weights to take, in place of those chosen: a pattern; repeatable")
      ->allow_extra_args(false);
  command->add_option("-j,--jobs", o.jobs, "Files at a time")
      ->check(CLI::Range(1, 32))
      ->capture_default_str();
  command->add_option("--attempts", o.attempts, "Tries without progress before giving up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--retry-delay", o.first_delay_s,
                   "Seconds to wait before the second try; doubles with each")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Prints one JSON object");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
