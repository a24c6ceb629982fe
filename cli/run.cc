// shoehorn run: completes a prompt, streaming the text as it comes.

#include <csignal>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "commands.h"
#include "load_flags.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct RunFlags {
  LoadFlags load;
  std::string prompt;
  std::string prompt_file;
  std::vector<std::int32_t> ids;
  bool json = false;
  bool stats = false;
  std::int64_t max_new_tokens = 256;
  std::string do_sample;
  GenerateOptions generate;
};

// Ctrl-C ends the reply after the step that is running; a second one ends the program.
Generation* running = nullptr;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_interrupt(int) {
  if (running != nullptr) running->cancel();
  std::signal(SIGINT, SIG_DFL);
}

std::string read_prompt(const RunFlags& flags, const CLI::App& command) {
  if (command.count("--prompt") > 0) return flags.prompt;
  if (!flags.prompt_file.empty() && flags.prompt_file != "-") {
    std::ifstream file(flags.prompt_file, std::ios::binary);
    if (!file) throw FileError(flags.prompt_file, "cannot be opened");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  if (flags.prompt_file.empty() && is_terminal(0)) {
    throw ArgumentError("no prompt: give -p TEXT, --prompt-file FILE, --ids, or text on stdin");
  }
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

nlohmann::ordered_json stats_json(const RunStats& s, FinishReason reason) {
  return {
      {"finish_reason", to_string(reason)},
      {"load_s", s.load_s},
      {"ttft_s", s.ttft_s},
      {"prompt_tokens", s.prompt_tokens},
      {"new_tokens", s.new_tokens},
      {"prefill_tok_s", s.prefill_tok_s},
      {"decode_tok_s", s.decode_tok_s},
      {"weight_bytes", s.weight_bytes},
      {"disk_bytes", s.disk_bytes},
      {"disk_bytes_per_token", s.disk_bytes_per_token},
      {"disk_wait_s", s.disk_wait_s},
      {"peak_bytes", {{"predicted", s.predicted_peak_bytes}, {"measured", s.measured_peak_bytes}}}};
}

std::string stats_text(const RunStats& s) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2);
  out << "load          " << s.load_s << " s\n"
      << "first token   " << s.ttft_s << " s (" << s.prompt_tokens << " prompt tokens, "
      << std::setprecision(1) << s.prefill_tok_s << " tok/s)\n"
      << "decode        " << s.decode_tok_s << " tok/s (" << s.new_tokens << " new tokens)\n"
      << "streamed      " << human_bytes(static_cast<std::uint64_t>(s.disk_bytes_per_token))
      << " a token of " << human_bytes(s.weight_bytes) << " weights, waited "
      << std::setprecision(2) << s.disk_wait_s << " s for the drive\n"
      << "peak memory   " << human_bytes(s.measured_peak_bytes) << " measured, "
      << human_bytes(s.predicted_peak_bytes) << " predicted\n";
  return out.str();
}

void run(const RunFlags& flags, const CLI::App& command, int& exit_code) {
  const std::string prompt = flags.ids.empty() ? read_prompt(flags, command) : std::string();
  const Model model = from_pretrained(flags.load.model, flags.load.load());
  GenerateOptions options = flags.generate;
  options.max_new_tokens = flags.max_new_tokens;
  if (!flags.do_sample.empty()) options.do_sample = flags.do_sample == "true";
  Generation generation =
      flags.ids.empty() ? model.generate(prompt, options) : model.generate(flags.ids, options);
  running = &generation;
  std::signal(SIGINT, on_interrupt);
  for (std::string piece; generation.next(piece);) {
    if (!flags.json) std::cout << piece << std::flush;
  }
  std::signal(SIGINT, SIG_DFL);
  running = nullptr;
  const RunStats stats = generation.stats();
  if (flags.json) {
    const nlohmann::ordered_json result = {
        {"ids", generation.ids()},
        {"text", generation.text()},
        {"stats", stats_json(stats, generation.finish_reason())}};
    std::cout << result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    if (model.tokenizer() == nullptr) {
      for (const std::int32_t id : generation.ids()) std::cout << id << ' ';
    }
    std::cout << '\n';
  }
  if (flags.stats) std::cerr << stats_text(stats);
  if (generation.finish_reason() == FinishReason::kCancelled) exit_code = 130;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Completes a prompt\n\n"
      "  shoehorn run MODEL -p \"Once upon a time\"\n"
      "  shoehorn run MODEL --max-memory cpu=1GiB --stats -p \"...\"   streams what does not fit\n"
      "  echo \"2 + 2 =\" | shoehorn run MODEL --max-new-tokens 8\n"
      "  shoehorn run MODEL --ids 1,2,3 --json");
  add_load_flags(*command, flags->load);
  GenerateOptions& g = flags->generate;
  command->add_option("-p,--prompt", flags->prompt, "The text to continue");
  command->add_option("-f,--prompt-file", flags->prompt_file, "A file with it; - is stdin");
  command->add_option("--ids", flags->ids, "Token ids in place of text")->delimiter(',');
  command->add_option("-n,--max-new-tokens", flags->max_new_tokens, "At most so many tokens")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--do-sample", flags->do_sample, "Sample, or take the likeliest token")
      ->check(CLI::IsMember({"true", "false"}));
  command->add_option("--temperature", g.temperature, "Above 1 wilder, below 1 tamer");
  command->add_option("--top-k", g.top_k, "Among the k likeliest; 0: all");
  command->add_option("--top-p", g.top_p, "Among the likeliest that make up this probability");
  command->add_option("--min-p", g.min_p, "Among those at least this share of the likeliest");
  command->add_option("--repetition-penalty", g.repetition_penalty, "Above 1: fewer repetitions");
  command->add_option("--seed", g.seed, "The same seed gives the same text");
  command->add_option("--stop", g.stop_strings, "Ends before this text; may be given again");
  command->add_flag("--ignore-eos", g.ignore_eos, "Goes on past end-of-text tokens");
  command->add_flag("--stats", flags->stats, "Prints times, rates and memory to stderr");
  command->add_flag("--json", flags->json, "Prints one JSON object: ids, text, stats");
  command->callback([flags, command, &exit_code] { run(*flags, *command, exit_code); });
}

}  // namespace shoehorn::cli
