// shoehorn eval: perplexity of a text over overlapping windows, as transformers' documentation
// computes it: every token is scored once, with as much context as its window gives it.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checks.h"
#include "commands.h"
#include "load_flags.h"

namespace shoehorn::cli {
namespace {

struct EvalFlags {
  LoadFlags load;
  std::string text;
  std::int64_t context = 1024;
  std::int64_t stride = 512;
  std::int64_t max_tokens = 0;
  bool json = false;
};

// Logits of so many positions are held at a time: many, for the matrix products to be fast, and for
// LLM.int8() to look for outliers in as many rows as bitsandbytes does.
constexpr std::size_t kLogitsBytes = std::size_t{128} << 20;
constexpr std::size_t kMostRowsAtOnce = 512;

/// -log softmax(logits)[target].
double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
  return std::log(sum) + top - logits[static_cast<std::size_t>(target)];
}

/// Sum over targets window[from..], each predicted from all before it in the window; from >= 1.
double score_window(Session& session, std::span<const std::int32_t> window, std::size_t from,
                    std::size_t vocab_size) {
  session.truncate(0);
  if (from > 1) session.forward(window.first(from - 1));
  const std::size_t rows =
      std::clamp<std::size_t>(kLogitsBytes / (vocab_size * sizeof(float)), 1, kMostRowsAtOnce);
  double sum = 0;
  for (std::size_t at = from - 1; at + 1 < window.size(); at += rows) {
    const std::size_t count = std::min(rows, window.size() - 1 - at);
    const std::vector<float> logits = session.forward_all(window.subspan(at, count));
    for (std::size_t i = 0; i < count; ++i) {
      sum += negative_log_likelihood(std::span(logits).subspan(i * vocab_size, vocab_size),
                                     window[at + i + 1]);
    }
  }
  return sum;
}

void run(const EvalFlags& flags) {
  if (flags.stride > flags.context) throw ArgumentError("--stride may not exceed --context");
  std::ifstream file(flags.text, std::ios::binary);
  if (!file) throw FileError(flags.text, "cannot be opened");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  LoadOptions options = flags.load.load();
  options.planned = {.num_beams = 1, .num_return_sequences = 1};
  if (options.max_context == 0) options.max_context = flags.context;
  const Model model = from_pretrained(flags.load.model, options);
  if (model.tokenizer() == nullptr) {
    throw UnsupportedError(flags.load.model + " has no tokenizer; eval needs one");
  }
  std::vector<std::int32_t> ids = model.tokenizer()->encode(text).ids;
  if (flags.max_tokens > 0 && ids.size() > static_cast<std::size_t>(flags.max_tokens)) {
    ids.resize(static_cast<std::size_t>(flags.max_tokens));
  }
  if (ids.size() < 2) throw ArgumentError(flags.text + " has fewer than two tokens");

  Session session = model.new_session(flags.context);
  const auto context = static_cast<std::size_t>(flags.context);
  const auto vocab_size = static_cast<std::size_t>(model.vocab_size());
  const auto start = std::chrono::steady_clock::now();
  double sum = 0;
  std::size_t scored = 0;
  std::size_t done = 1;  // ids before this one have been scored, or are the very first
  for (std::size_t begin = 0; done < ids.size(); begin += static_cast<std::size_t>(flags.stride)) {
    const std::size_t end = std::min(begin + context, ids.size());
    const std::size_t from = std::max(done, begin + 1);
    sum +=
        score_window(session, std::span(ids).subspan(begin, end - begin), from - begin, vocab_size);
    scored += end - from;
    done = end;
    if (options.on_progress) options.on_progress("scoring", end, ids.size());
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double perplexity = std::exp(sum / static_cast<double>(scored));
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"perplexity", perplexity},
                                        {"tokens", scored},
                                        {"tok_s", static_cast<double>(scored) / seconds}}
                     .dump()
              << '\n';
  } else {
    std::cout << "perplexity " << perplexity << " over " << scored << " tokens, "
              << static_cast<double>(scored) / seconds << " tok/s\n";
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval",
                         "Measures the perplexity of a text\n\n"
                         "  shoehorn eval MODEL --text FILE --context 1024 --stride 512");
  add_load_flags(*command, flags->load);
  command->add_option("--text", flags->text, "The text")->required();
  command->add_option("--context", flags->context, "Tokens of a window")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--stride", flags->stride, "From one window to the next")
      ->check(kCount)
      ->capture_default_str();
  command->add_option("--max-tokens", flags->max_tokens, "Scores only the first so many tokens")
      ->check(kCount);
  command->add_flag("--json", flags->json, "Prints JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
