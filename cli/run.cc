// shoehorn run: completes a prompt, streaming the text as it comes.

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "chat_flags.h"
#include "checks.h"
#include "commands.h"
#include "load_flags.h"
#include "run_prompts.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

struct RunFlags {
  LoadFlags load;
  ChatFlags chat;
  std::vector<std::string> prompts;
  std::string prompt_file;
  std::string prompts_file;
  std::vector<std::int32_t> ids;
  std::vector<std::string> bad_words;  // "12,7" each
  std::vector<std::string> biases;     // "12,7=-2.5" each
  std::vector<double> decay;           // tokens, factor
  std::string grammar_file;
  std::string json_schema;  // JSON, or a file with it
  bool json = false;
  bool stats = false;
  bool explain = false;
  std::string do_sample;
  GenerateOptions generate;
};

// Ctrl-C ends the reply after the step that is running; a second one ends the program.
Generation* running = nullptr;       // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<bool> cancelled{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_interrupt(int) {
  cancelled.store(true, std::memory_order_relaxed);
  if (running != nullptr) running->cancel();
  std::signal(SIGINT, SIG_DFL);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FileError(path, "cannot be opened");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> read_prompts(const RunFlags& flags) {
  if (!flags.prompts.empty()) return flags.prompts;
  if (!flags.prompt_file.empty() && flags.prompt_file != "-") return {read_file(flags.prompt_file)};
  if (flags.chat.chat && flags.prompt_file.empty() && !flags.chat.messages_file.empty()) {
    return {""};  // the conversation says it all
  }
  if (flags.prompt_file.empty() && is_terminal(0)) {
    throw ArgumentError("no prompt: give -p TEXT, --prompt-file FILE, --ids, or text on stdin");
  }
  return {std::string(std::istreambuf_iterator<char>(std::cin), {})};
}

std::vector<std::int32_t> parse_ids(const char* option, const std::string& text) {
  std::vector<std::int32_t> ids;
  std::istringstream in(text);
  for (std::string id; std::getline(in, id, ',');) {
    std::int32_t value = 0;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), value);
    if (error != std::errc() || end != id.data() + id.size()) {
      throw ArgumentError(std::string(option) + ": expected ids like 12,7, found " + text);
    }
    ids.push_back(value);
  }
  return ids;
}

/// "12,7=-2.5"
std::pair<std::vector<std::int32_t>, double> parse_bias(const std::string& text) {
  const std::size_t equals = text.find('=');
  double bias = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] =
      std::from_chars(equals == std::string::npos ? end : text.data() + equals + 1, end, bias);
  if (error != std::errc() || parsed != end) {
    throw ArgumentError("--sequence-bias: expected ids and a number like 12,7=-2.5, found " + text);
  }
  return {parse_ids("--sequence-bias", text.substr(0, equals)), bias};
}

GenerateOptions generate_options(const RunFlags& flags) {
  GenerateOptions options = flags.generate;
  if (!flags.do_sample.empty()) options.do_sample = flags.do_sample == "true";
  if (!flags.bad_words.empty()) {
    options.bad_words_ids.emplace();
    for (const std::string& word : flags.bad_words) {
      options.bad_words_ids->push_back(parse_ids("--bad-words-ids", word));
    }
  }
  for (const std::string& bias : flags.biases) {
    if (!options.sequence_bias) options.sequence_bias.emplace();
    options.sequence_bias->push_back(parse_bias(bias));
  }
  if (!flags.decay.empty()) {
    options.exponential_decay_length_penalty = {static_cast<std::int64_t>(flags.decay.at(0)),
                                                flags.decay.at(1)};
  }
  if (!flags.grammar_file.empty()) options.grammar = read_file(flags.grammar_file);
  if (!flags.json_schema.empty()) {
    const bool is_text = flags.json_schema.find('{') != std::string::npos;
    options.json_schema = is_text ? flags.json_schema : read_file(flags.json_schema);
  }
  return options;
}

nlohmann::ordered_json groups_json(const std::vector<GroupUse>& groups) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const GroupUse& group : groups) {
    all.push_back({{"group", group.group},
                   {"passes", group.passes},
                   {"wait_s", group.wait_s},
                   {"busy_s", group.busy_s}});
  }
  return all;
}

nlohmann::ordered_json stats_json(const RunStats& s, FinishReason reason) {
  nlohmann::ordered_json json = {
      {"finish_reason", to_string(reason)},
      {"load_s", s.load_s},
      {"ttft_s", s.ttft_s},
      {"prompt_tokens", s.prompt_tokens},
      {"cached_tokens", s.cached_tokens},
      {"new_tokens", s.new_tokens},
      {"prefill_tok_s", s.prefill_tok_s},
      {"decode_tok_s", s.decode_tok_s},
      {"weight_bytes", s.weight_bytes},
      {"disk_bytes", s.disk_bytes},
      {"disk_bytes_per_token", s.disk_bytes_per_token},
      {"disk_wait_s", s.disk_wait_s},
      {"peak_bytes", {{"predicted", s.predicted_peak_bytes}, {"measured", s.measured_peak_bytes}}},
      {"groups", groups_json(s.groups)}};
  if (s.speculates) {
    json["speculation"] = {{"drafted", s.drafted},
                           {"accepted", s.accepted},
                           {"passes", s.checking_passes},
                           {"switched_off", s.speculation_switched_off}};
  }
  return json;
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
  if (s.speculates) {
    out << "speculation   " << s.accepted << " of " << s.drafted << " guessed tokens right, in "
        << s.checking_passes << " passes"
        << (s.speculation_switched_off ? "; switched off where it lost time\n" : "\n");
  }
  return out.str();
}

nlohmann::ordered_json logprobs_json(const std::vector<TokenLogprob>& logprobs) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const TokenLogprob& token : logprobs) {
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    for (const auto& [id, logprob] : token.top) top.push_back({{"id", id}, {"logprob", logprob}});
    all.push_back({{"id", token.id}, {"logprob", token.logprob}, {"top", std::move(top)}});
  }
  return all;
}

void print_json(const nlohmann::ordered_json& json) {
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void print_ids(const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) std::cout << id << ' ';
}

/// Several sequences, all at once when they are done.
void run_several(const RunFlags& flags, const Model& model,
                 const std::vector<std::vector<std::int32_t>>& prompts,
                 const GenerateOptions& options, int& exit_code) {
  std::signal(SIGINT, on_interrupt);
  const std::vector<Completion> completions = model.complete(prompts, options, &cancelled);
  std::signal(SIGINT, SIG_DFL);
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Completion& completion : completions) {
    if (!flags.json) {
      if (&completion != completions.data()) std::cout << "---\n";
      if (model.tokenizer() == nullptr) print_ids(completion.ids);
      std::cout << completion.text << '\n';
      continue;
    }
    nlohmann::ordered_json one = {{"prompt", completion.prompt},
                                  {"ids", completion.ids},
                                  {"text", completion.text},
                                  {"finish_reason", to_string(completion.finish_reason)}};
    if (model.search_width(options).num_beams > 1) one["score"] = completion.score;
    if (options.logprobs) one["logprobs"] = logprobs_json(completion.logprobs);
    all.push_back(std::move(one));
  }
  if (flags.json) print_json({{"sequences", std::move(all)}});
  if (cancelled) exit_code = 130;
}

/// Loads a prompt cache and keeps of it what `ids` begin with, but for their last; how many.
std::int64_t take_prompt_ids(const std::string& path, const Model& model,
                             const std::vector<std::int32_t>& ids, Session& session) {
  std::vector<std::int32_t> held;
  take_prompt_cache(path, [&] { held = model.load_session(path, session); });
  const auto agree = std::ranges::mismatch(held, ids).in1 - held.begin();
  const auto most = static_cast<std::ptrdiff_t>(std::max<std::size_t>(ids.size(), 1)) - 1;
  session.truncate(std::min(agree, most));
  return session.position();
}

void run_one(const RunFlags& flags, const Model& model, const std::vector<std::int32_t>& ids,
             const GenerateOptions& options, int& exit_code) {
  std::optional<Session> session;  // of a prompt cache
  std::int64_t cached = 0;
  const auto begin = [&] {
    if (flags.chat.prompt_cache.empty()) return model.generate(ids, options);
    session.emplace(model.new_session());
    cached = take_prompt_ids(flags.chat.prompt_cache, model, ids, *session);
    return model.generate(*session, ids, options);
  };
  Generation generation = begin();
  for (const std::string& note : generation.notes()) std::cerr << "note: " << note << '\n';
  running = &generation;
  std::signal(SIGINT, on_interrupt);
  for (std::string piece; generation.next(piece);) {
    if (!flags.json) std::cout << piece << std::flush;
  }
  std::signal(SIGINT, SIG_DFL);
  running = nullptr;
  const RunStats stats = generation.stats();
  if (flags.json) {
    nlohmann::ordered_json result = {{"ids", generation.ids()}, {"text", generation.text()}};
    if (options.logprobs) result["logprobs"] = logprobs_json(generation.logprobs());
    result["stats"] = stats_json(stats, generation.finish_reason());
    if (flags.explain) result["plan"] = nlohmann::ordered_json::parse(model.plan_json());
    print_json(result);
  } else {
    if (model.tokenizer() == nullptr) print_ids(generation.ids());
    std::cout << '\n';
  }
  if (flags.stats) std::cerr << stats_text(stats);
  if (flags.stats && flags.explain && !stats.groups.empty()) {
    std::cerr << model.explain(stats.groups, shows_unicode());
  }
  const auto prompt = static_cast<std::int64_t>(ids.size());
  // All but the last id of a prompt that was there already is as good as the whole.
  if (session && session->position() >= prompt && cached + 1 < prompt) {
    session->truncate(prompt);
    model.save_session(flags.chat.prompt_cache, *session, ids);
  }
  if (generation.finish_reason() == FinishReason::kCancelled) exit_code = 130;
}

void run_prompts_file(const RunFlags& flags, bool says_max_batch, int& exit_code) {
  std::signal(SIGINT, on_interrupt);
  exit_code = run_prompts({.file = flags.prompts_file,
                           .model = flags.load.model,
                           .load = flags.load.load(),
                           .says_max_batch = says_max_batch,
                           .generate = generate_options(flags),
                           .stats = flags.stats},
                          cancelled);
  std::signal(SIGINT, SIG_DFL);
}

/// A conversation at the terminal.
void run_interactive(const RunFlags& flags, const GenerateOptions& options) {
  if (flags.json || !flags.ids.empty()) throw ArgumentError("-i takes neither --json nor --ids");
  std::vector<std::string> messages = flags.prompts;
  if (!flags.prompt_file.empty()) messages.push_back(read_file(flags.prompt_file));
  LoadOptions load = flags.load.load();
  load.planned = {.num_beams = 1, .num_return_sequences = 1};
  const Model model = from_pretrained(flags.load.model, load);
  if (!model.search_width(options).is_one()) {
    throw ArgumentError(
        "a conversation has one continuation, and several are asked for (by generation_config.json "
        "where no option does): --num-beams 1 --num-return-sequences 1");
  }
  Chat chat(model, chat_options(flags.chat, options));
  std::function<void(const RunStats&)> on_stats;
  if (flags.stats) on_stats = [](const RunStats& stats) { std::cerr << stats_text(stats); };
  chat_with(flags.chat, chat, messages, on_stats);
}

void run(const RunFlags& flags, int& exit_code) {
  flags.chat.check();
  if (flags.chat.interactive) return run_interactive(flags, generate_options(flags));
  if (flags.chat.chat && !flags.ids.empty()) {
    throw ArgumentError("--chat takes text, and --ids are ids: give one of them");
  }
  const auto texts = flags.ids.empty() ? read_prompts(flags) : std::vector<std::string>();
  GenerateOptions options = generate_options(flags);
  const auto prompt_count = static_cast<std::int64_t>(std::max<std::size_t>(texts.size(), 1));
  LoadOptions load = flags.load.load();
  load.planned = {.prompts = prompt_count,
                  .num_beams = options.num_beams,
                  .num_return_sequences = options.num_return_sequences};
  load.measure_rates = flags.explain;
  const Model model = from_pretrained(flags.load.model, load);
  if (flags.explain) std::cerr << model.explain({}, shows_unicode());
  std::vector<std::vector<std::int32_t>> prompts;
  if (!flags.ids.empty()) prompts.push_back(flags.ids);
  for (const std::string& text : texts) {
    prompts.push_back(flags.chat.chat ? chat_prompt(flags.chat, model, text, options)
                                      : model.encode_prompt(text));
  }
  if (prompt_count > 1 || !model.search_width(options).is_one()) {
    if (!flags.chat.prompt_cache.empty()) {
      throw ArgumentError("--prompt-cache is about one sequence");
    }
    if (flags.stats) throw ArgumentError("--stats is about one sequence");
    if (options.prompt_lookup_num_tokens || !load.draft_model.empty()) {
      throw ArgumentError(
          "--prompt-lookup and --draft guess for one sequence, and these are several");
    }
    run_several(flags, model, prompts, options, exit_code);
  } else {
    run_one(flags, model, prompts.front(), options, exit_code);
  }
}

void add_rule_flags(CLI::App& command, RunFlags& flags) {
  GenerateOptions& g = flags.generate;
  const std::string group = "What may be said, and how it is searched";
  const auto option = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group(group);
  };
  option("--no-repeat-ngram-size", g.no_repeat_ngram_size, "No n tokens come twice");
  option("--encoder-no-repeat-ngram-size", g.encoder_no_repeat_ngram_size,
         "No n tokens of the prompt come again");
  option("--encoder-repetition-penalty", g.encoder_repetition_penalty,
         "Above 1: what the prompt says becomes likelier");
  option("--remove-invalid-values", g.remove_invalid_values,
         "true: logits that are no finite numbers become ones");
  option("--bad-words-ids", flags.bad_words, "Ids 12,7 that never come in a row; repeatable")
      ->allow_extra_args(false);
  option("--sequence-bias", flags.biases, "12,7=-2.5: added to the logit of 7 after 12; repeatable")
      ->allow_extra_args(false);
  option("--exponential-decay-length-penalty", flags.decay,
         "TOKENS,FACTOR: after so many new tokens the end becomes likelier with each")
      ->delimiter(',')
      ->expected(2);
  option("--min-length", g.min_length, "No end before so many tokens, prompt included");
  option("--min-new-tokens", g.min_new_tokens, "No end before so many new tokens");
  option("--forced-bos-token-id", g.forced_bos_token_id, "What follows a prompt of one token");
  option("--forced-eos-token-id", g.forced_eos_token_id, "The last token where the text is cut")
      ->delimiter(',');
  option("--suppress-tokens", g.suppress_tokens, "Ids that never come")->delimiter(',');
  option("--begin-suppress-tokens", g.begin_suppress_tokens, "Ids that do not come first")
      ->delimiter(',');
  option("--num-beams", g.num_beams, "Above 1: beam search, of sampled beams where one samples");
  option("--renormalize-logits", g.renormalize_logits,
         "true: what beams add up are log-probabilities after all rules")
      ->check(CLI::IsMember({"true", "false"}));
  option("--length-penalty", g.length_penalty, "Above 0: beams prefer long texts");
  option("--early-stopping", g.early_stopping, "When beams end: false, true or never")
      ->check(CLI::IsMember({"false", "true", "never"}));
  option("--num-return-sequences", g.num_return_sequences, "Continuations of every prompt");
  option("--draft", flags.load.options.draft_model,
         "A small model with the same tokenizer that guesses what comes next");
  option("--num-assistant-tokens", g.num_assistant_tokens, "Tokens that --draft guesses at once");
  command
      .add_flag_function(
          "--prompt-lookup{10},--prompt-lookup-num-tokens{10}",
          [&g](std::int64_t tokens) { g.prompt_lookup_num_tokens = tokens; },
          "Guesses what comes next from what the text said before, =N tokens (10) at once")
      ->group(group);
  option("--max-matching-ngram-size", g.max_matching_ngram_size,
         "Tokens that --prompt-lookup compares at most (8)");
  option("--logprobs", g.logprobs, "With --json: log-probabilities, and of the N likeliest");
  option("--grammar-file", flags.grammar_file, "A GBNF grammar that the output follows");
  option("--json-schema", flags.json_schema,
         "JSON that the schema accepts: its text, or a file; {} is any JSON");
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
      "  shoehorn run MODEL --chat -p \"Who are you?\"                one message, through the "
      "chat template\n"
      "  shoehorn run MODEL -i                                       a conversation\n"
      "  shoehorn run MODEL --ids 1,2,3 --json");
  add_load_flags(*command, flags->load);
  add_chat_flags(*command, flags->chat);
  GenerateOptions& g = flags->generate;
  command
      ->add_option("-p,--prompt", flags->prompts,
                   "The text to continue; given again: several texts, side by side")
      ->allow_extra_args(false);
  command->add_option("-f,--prompt-file", flags->prompt_file, "A file with it; - is stdin");
  command->add_option("--ids", flags->ids, "Token ids in place of text")->delimiter(',');
  command
      ->add_option(
          "--prompts", flags->prompts_file,
          "Many, that share passes: lines {\"prompt\": \"...\"} or {\"ids\": [...]}; - is\n"
          "stdin. A line of JSON comes back as each is done")
      ->excludes("--prompt")
      ->excludes("--prompt-file")
      ->excludes("--ids");
  command
      ->add_option("-n,--max-new-tokens", g.max_new_tokens,
                   "At most so many tokens; default: the checkpoint's, else 256")
      ->check(kCountOrNone);
  command->add_option("--max-length", g.max_length, "The same with the prompt's tokens counted")
      ->check(kCountOrNone);
  command->add_option("--do-sample", flags->do_sample, "Sample, or take the likeliest token")
      ->check(CLI::IsMember({"true", "false"}));
  command->add_option("--temperature", g.temperature, "Above 1 wilder, below 1 tamer");
  command->add_option("--top-k", g.top_k, "Among the k likeliest; 0: all");
  command->add_option("--top-p", g.top_p, "Among the likeliest that make up this probability");
  command->add_option("--min-p", g.min_p, "Among those at least this share of the likeliest");
  command->add_option("--top-h", g.top_h, "Among the likeliest that make up this share of entropy");
  command->add_option("--typical-p", g.typical_p,
                      "Among the typical that make up this probability");
  command->add_option("--epsilon-cutoff", g.epsilon_cutoff, "Among those at least this probable");
  command->add_option("--eta-cutoff", g.eta_cutoff, "The same, lower where many are likely");
  command->add_option("--repetition-penalty", g.repetition_penalty, "Above 1: fewer repetitions");
  add_rule_flags(*command, *flags);
  command->add_option("--seed", g.seed, "The same seed gives the same text");
  command->add_option("--stop", g.stop_strings, "Ends before this text; may be given again");
  command->add_option("--eos-token-id", g.eos_token_id, "Ids that end the text, A,B")
      ->delimiter(',');
  command->add_flag("--ignore-eos", g.ignore_eos, "Goes on past end-of-text tokens");
  command->add_flag("--stats", flags->stats, "Prints times, rates and memory to stderr");
  command->add_flag("--explain", flags->explain,
                    "Prints to stderr where every layer lives and runs, and how long that takes;\n"
                    "with --stats what was measured too");
  command->add_flag("--json", flags->json, "Prints one JSON object: ids, text, stats");
  command->callback([flags, command, &exit_code] {
    if (flags->prompts_file.empty()) return run(*flags, exit_code);
    run_prompts_file(*flags, command->count("--max-batch") > 0, exit_code);
  });
}

}  // namespace shoehorn::cli
