// shoehorn logits: what the model thinks comes next, after every token, as a safetensors file.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "shoehorn/shoehorn.h"

#include "checks.h"
#include "commands.h"
#include "load_flags.h"

namespace shoehorn::cli {
namespace {

struct LogitsFlags {
  LoadFlags load;
  std::vector<std::int32_t> ids;
  std::string ids_file;
  std::string out;
  std::int64_t chunk = 0;
};

void run(const LogitsFlags& flags) {
  if (flags.ids.empty() == flags.ids_file.empty()) {
    throw ArgumentError("logits needs either --ids 1,2,3 or --ids-file FILE.safetensors");
  }
  LoadOptions options = flags.load.load();
  options.planned = {.num_beams = 1, .num_return_sequences = 1};
  if (!flags.ids_file.empty()) {
    const LogitsRequest request = read_logits_request(flags.ids_file);
    const Model model = from_pretrained(flags.load.model, options);
    const std::array shape = {request.batch, request.length, model.vocab_size()};
    write_logits(flags.out, model.logits(request), shape);
    return;
  }
  const Model model = from_pretrained(flags.load.model, options);
  const auto count = static_cast<std::int64_t>(flags.ids.size());
  Session session = model.new_session(count);
  std::vector<float> logits;
  const std::int64_t step = flags.chunk > 0 ? flags.chunk : count;
  for (std::int64_t at = 0; at < count; at += step) {
    const auto part = std::span(flags.ids).subspan(
        static_cast<std::size_t>(at), static_cast<std::size_t>(std::min(step, count - at)));
    const std::vector<float> rows = session.forward_all(part);
    logits.insert(logits.end(), rows.begin(), rows.end());
  }
  const std::array shape = {count, model.vocab_size()};
  write_logits(flags.out, logits, shape);
}

}  // namespace

void add_logits(CLI::App& app) {
  auto flags = std::make_shared<LogitsFlags>();
  CLI::App* command = app.add_subcommand(
      "logits",
      "Writes the logits after every token to a safetensors file\n\n"
      "  shoehorn logits MODEL --ids 1,2,3 --out logits.safetensors\n"
      "  shoehorn logits MODEL --ids-file batch.safetensors --out logits.safetensors");
  // What is compared with a reference follows the reference, slips included.
  flags->load.options.bnb_parity = "cpu";
  add_load_flags(*command, flags->load);
  command->add_option("--ids", flags->ids, "Token ids")->delimiter(',');
  command->add_option("--ids-file", flags->ids_file,
                      "A safetensors file with input_ids [B, T] and optional attention_mask, "
                      "position_ids");
  command->add_option("--chunk", flags->chunk, "Feeds so many ids at a time; default: all at once")
      ->check(kCount);
  command->add_option("--out", flags->out, "The file to write")->required();
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
