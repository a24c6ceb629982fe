#include "run_prompts.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "terminal.h"

namespace shoehorn::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// What runs together where --max-batch does not say: a pass then reads weights for as many tokens
// as a processor multiplies in about the time that a drive brings them.
constexpr std::int64_t kUsualBatch = 32;

/// A line of the file.
struct PromptLine {
  std::size_t number = 0;  // from 1
  Json keys = {};          // what comes back with the result
  std::string error = {};  // empty: `prompt` is one
  BatchPrompt prompt = {};
};

/// Printed at once, so that who reads a pipe has what is done.
void print_line(const Json& json) {
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

/// Reads what a line says. Throws ArgumentError, Json::exception, and what encode() throws.
BatchPrompt parse_prompt(Json& line, const Tokenizer* tokenizer) {
  if (!line.is_object()) throw ArgumentError("is no JSON object");
  BatchPrompt result;
  const bool has_text = line.contains("prompt");
  if (has_text == line.contains("ids")) {
    throw ArgumentError(R"(needs "prompt" (text) or "ids", one of them)");
  }
  if (has_text) {
    if (!line["prompt"].is_string()) throw ArgumentError(R"("prompt" is no text)");
    if (tokenizer == nullptr) {
      throw ArgumentError(R"(the checkpoint has no tokenizer; give "ids" in place of "prompt")");
    }
    result.ids = tokenizer->encode(line["prompt"].get_ref<const std::string&>()).ids;
  } else {
    if (!line["ids"].is_array()) throw ArgumentError(R"("ids" is no array)");
    for (const Json& id : line["ids"]) {
      if (!id.is_number_integer()) throw ArgumentError(R"("ids" holds what is no integer)");
      const auto value = id.get<std::int64_t>();
      if (value < 0 || value > INT32_MAX) throw ArgumentError(R"("ids" holds what is no id)");
      result.ids.push_back(static_cast<std::int32_t>(value));
    }
  }
  if (line.contains("max_new_tokens")) {
    const Json& count = line["max_new_tokens"];
    if (!count.is_number_integer() || count.get<std::int64_t>() < 0 ||
        (count.is_number_unsigned() && count.get<std::uint64_t>() > INT32_MAX)) {
      throw ArgumentError(R"("max_new_tokens" is no count)");
    }
    result.max_new_tokens = count.get<std::int64_t>();
  }
  for (const char* const key : {"prompt", "ids", "max_new_tokens"}) line.erase(key);
  return result;
}

/// Of what Json::parse() reads. A line's keys are printed again, and printing recurses.
bool shallow(int depth, Json::parse_event_t /*event*/, Json& /*parsed*/) {
  constexpr int kMostDepth = 100;
  if (depth > kMostDepth) throw ArgumentError("is nested too deeply");
  return true;
}

std::vector<PromptLine> read_lines(std::istream& in, const Tokenizer* tokenizer) {
  std::vector<PromptLine> lines;
  std::size_t number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    PromptLine& line = lines.emplace_back(PromptLine{.number = number});
    try {
      Json json = Json::parse(text, shallow);
      line.prompt = parse_prompt(json, tokenizer);
      line.keys = std::move(json);
    } catch (const Json::exception& error) {
      line.error = error.what();
    } catch (const Error& error) {
      line.error = error.what();
    }
  }
  return lines;
}

std::vector<PromptLine> read_lines(const std::string& path, const Tokenizer* tokenizer) {
  if (path == "-") return read_lines(std::cin, tokenizer);
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FileError(path, "cannot be opened");
  std::vector<PromptLine> lines = read_lines(file, tokenizer);
  if (file.bad()) throw FileError(path, "cannot be read");
  return lines;
}

std::optional<Tokenizer> tokenizer_of(const PromptsRequest& request) {
  if (request.load.synthetic) return std::nullopt;
  try {
    return load_tokenizer(request.model);
  } catch (const UnsupportedError&) {
    return std::nullopt;  // lines of ids need none
  }
}

/// The positions that the longest line takes, as far as the plan's default goes.
std::int64_t context_for(const std::vector<PromptLine>& lines, const PromptsRequest& request) {
  const Json report = Json::parse(inspect(request.model, request.load).json);
  const auto most = report.at("max_context").get<std::int64_t>();
  const Json& defaults = report.at("generation");
  const GenerateOptions& asked = request.generate;
  const auto tokens_in_all = [&]() -> std::optional<std::int64_t> {
    if (asked.max_new_tokens || asked.max_length || !defaults.contains("max_length")) {
      return asked.max_new_tokens ? std::nullopt : asked.max_length;
    }
    return defaults.at("max_length").get<std::int64_t>();
  }();
  const std::int64_t usual =
      asked.max_new_tokens.value_or(defaults.value("max_new_tokens", std::int64_t{256}));
  std::int64_t longest = 1;
  for (const PromptLine& line : lines) {
    const auto prompt = static_cast<std::int64_t>(line.prompt.ids.size());
    const std::int64_t more = line.prompt.max_new_tokens.value_or(
        tokens_in_all ? std::max<std::int64_t>(*tokens_in_all - prompt, 0) : usual);
    if (prompt < most) longest = std::max(longest, std::min(most, prompt + std::min(more, most)));
  }
  return longest;
}

/// Loads the model for the batch asked for, or the largest of the usual ones that fits.
Model load_model(const PromptsRequest& request, const std::vector<PromptLine>& lines) {
  LoadOptions load = request.load;
  load.planned = {.num_beams = 1, .num_return_sequences = 1};  // what complete_each() does
  if (load.max_context == 0) load.max_context = context_for(lines, request);
  const auto count = static_cast<std::int64_t>(std::max<std::size_t>(lines.size(), 1));
  if (request.says_max_batch) {
    load.max_batch = std::min(load.max_batch, count);
    return from_pretrained(request.model, load);
  }
  for (load.max_batch = std::min(kUsualBatch, count);; load.max_batch /= 2) {
    try {
      return from_pretrained(request.model, load);
    } catch (const PlanError&) {
      if (load.max_batch == 1) throw;
    }
  }
}

void check_against(const Model& model, PromptLine& line) {
  if (!line.error.empty()) return;
  const auto tokens = static_cast<std::int64_t>(line.prompt.ids.size());
  if (tokens > model.max_context()) {
    line.error = "the prompt has " + std::to_string(tokens) + " tokens and the plan room for " +
                 std::to_string(model.max_context()) + "; a larger --max-context makes room";
  }
  for (const std::int32_t id : line.prompt.ids) {
    if (id >= model.vocab_size()) {
      line.error = "token id " + std::to_string(id) + " is outside the vocabulary of " +
                   std::to_string(model.vocab_size());
    }
  }
}

Json error_json(std::size_t index, const PromptLine& line) {
  Json json = line.keys.is_object() ? line.keys : Json::object();
  json["index"] = index;
  json["line"] = line.number;
  json["error"] = "line " + std::to_string(line.number) + ": " + line.error;
  return json;
}

Json result_json(std::size_t index, const PromptLine& line, const Completion& completion) {
  Json json = line.keys;
  json["index"] = index;
  json["line"] = line.number;
  json["ids"] = completion.ids;
  json["text"] = completion.text;
  json["finish_reason"] = to_string(completion.finish_reason);
  json["prompt_tokens"] = line.prompt.ids.size();
  if (!completion.logprobs.empty()) {
    Json all = Json::array();
    for (const TokenLogprob& token : completion.logprobs) {
      Json top = Json::array();
      for (const auto& [id, logprob] : token.top) top.push_back({{"id", id}, {"logprob", logprob}});
      all.push_back({{"id", token.id}, {"logprob", token.logprob}, {"top", std::move(top)}});
    }
    json["logprobs"] = std::move(all);
  }
  return json;
}

struct Totals {
  std::size_t prompts = 0;
  std::size_t prompt_tokens = 0;
  std::size_t new_tokens = 0;
};

void print_stats(const Totals& totals, double seconds, const Model& model) {
  std::cerr << std::fixed << std::setprecision(2) << "load          " << model.load_s() << " s\n"
            << "prompts       " << totals.prompts << " in " << seconds << " s ("
            << totals.prompt_tokens << " prompt tokens, " << totals.new_tokens << " new)\n"
            << "rate          " << static_cast<double>(totals.new_tokens) / seconds
            << " new tok/s\n"
            << "streamed      " << human_bytes(model.disk_bytes_read()) << " of "
            << human_bytes(model.weight_bytes()) << " weights a pass, waited "
            << model.disk_wait_s() << " s for the drive\n";
}

}  // namespace

int run_prompts(const PromptsRequest& request, const std::atomic<bool>& cancelled) {
  const std::optional<Tokenizer> tokenizer = tokenizer_of(request);
  std::vector<PromptLine> lines = read_lines(request.file, tokenizer ? &*tokenizer : nullptr);
  const Model model = load_model(request, lines);
  bool all_good = true;
  std::size_t read = 0;
  std::vector<std::size_t> index_of;  // of what was handed out
  const auto next = [&]() -> std::optional<BatchPrompt> {
    while (read < lines.size()) {
      const std::size_t index = read++;
      PromptLine& line = lines[index];
      check_against(model, line);
      if (line.error.empty()) {
        index_of.push_back(index);
        return line.prompt;
      }
      all_good = false;
      print_line(error_json(index, line));
    }
    return std::nullopt;
  };
  Totals totals;
  const auto done = [&](const Completion& completion) {
    const std::size_t index = index_of[completion.prompt];
    print_line(result_json(index, lines[index], completion));
    totals.prompts += 1;
    totals.prompt_tokens += lines[index].prompt.ids.size();
    totals.new_tokens += completion.ids.size();
  };
  const Clock::time_point start = Clock::now();
  model.complete_each(next, done, request.generate, &cancelled);
  if (request.stats) {
    print_stats(totals, std::chrono::duration<double>(Clock::now() - start).count(), model);
  }
  if (cancelled) return 130;
  return all_good ? 0 : 1;
}

}  // namespace shoehorn::cli
