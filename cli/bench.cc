// shoehorn bench: load time, time to first token, rates, peak memory, and what share of this
// machine's limits that is. The model is run on pseudo-random ids; the probes run in the same
// process, after it.

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checks.h"
#include "commands.h"
#include "load_flags.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct BenchFlags {
  LoadFlags load;
  std::int64_t prompt_tokens = 128;
  std::int64_t gen_tokens = 64;
  std::int64_t batch = 1;
  int repetitions = 3;
  double least_seconds = 0;
  bool no_probe = false;
  bool predict = false;
  bool json = false;
};

struct Timing {
  double prefill_s = 0;  // of all prompts, to the id that follows each
  double decode_s = 0;   // of the other tokens
};

using Ids = std::vector<std::int32_t>;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// All sequences advance together, a pass for a token of each.
Timing run_once(const Model& model, std::span<Session> sessions, std::span<const Ids> prompts,
                std::int64_t gen_tokens) {
  std::vector<Session*> all;
  for (Session& session : sessions) {
    session.truncate(0);
    all.push_back(&session);
  }
  std::vector<std::span<const std::int32_t>> ids(prompts.begin(), prompts.end());
  Timing timing;
  const auto start = Clock::now();
  Ids best = model.likeliest(all, ids);
  timing.prefill_s = seconds_since(start);
  const auto decode = Clock::now();
  for (std::int64_t i = 1; i < gen_tokens; ++i) {
    for (std::size_t s = 0; s < all.size(); ++s) ids[s] = std::span(best).subspan(s, 1);
    best = model.likeliest(all, ids);
  }
  timing.decode_s = seconds_since(decode);
  return timing;
}

Ids random_ids(std::int64_t count, std::int64_t vocab_size, std::mt19937& random) {
  Ids ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids) {
    id = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocab_size));
  }
  return ids;
}

struct BenchResult {
  std::int64_t batch = 1;
  double load_s = 0;
  double ttft_s = 0;
  double prefill_tok_s = 0;
  double decode_tok_s = 0;
  std::size_t predicted_peak = 0;
  std::size_t measured_peak = 0;
  std::uint64_t weight_bytes = 0;
  double disk_bytes_per_token = 0;
  double prefill_flops_s = 0;
  nlohmann::ordered_json plan;  // as `plan --json` prints it
};

BenchResult measure(const BenchFlags& flags) {
  const std::int64_t positions = flags.prompt_tokens + flags.gen_tokens;
  LoadOptions options = flags.load.load();
  if (options.max_context == 0) options.max_context = positions;
  options.planned = {.num_beams = 1, .num_return_sequences = 1};
  options.max_batch = std::max(options.max_batch, flags.batch);
  options.measure_rates = flags.predict;
  options.predicted_position = flags.prompt_tokens + flags.gen_tokens / 2;
  const Model model = from_pretrained(flags.load.model, options);
  BenchResult result;
  result.batch = flags.batch;
  result.load_s = model.load_s();
  result.weight_bytes = model.weight_bytes();
  result.plan = nlohmann::ordered_json::parse(model.plan_json());
  std::mt19937 random(1);
  std::vector<Session> sessions;
  std::vector<Ids> prompts;
  for (std::int64_t i = 0; i < flags.batch; ++i) {
    sessions.push_back(model.new_session(positions));
    prompts.push_back(random_ids(flags.prompt_tokens, model.vocab_size(), random));
  }
  const auto batch = static_cast<double>(flags.batch);
  std::vector<double> prefill;
  std::vector<double> decode;
  double measured_s = 0;
  for (int i = 0; i <= flags.repetitions || measured_s < flags.least_seconds; ++i) {
    const std::uint64_t before = model.disk_bytes_read();
    const Timing timing = run_once(model, sessions, prompts, flags.gen_tokens);
    const std::uint64_t read = model.disk_bytes_read() - before;
    if (i == 0) continue;  // warms up caches and clocks
    prefill.push_back(timing.prefill_s);
    decode.push_back(timing.decode_s);
    measured_s += timing.prefill_s + timing.decode_s;
    result.disk_bytes_per_token =
        static_cast<double>(read) / (static_cast<double>(flags.gen_tokens) * batch);
  }
  result.ttft_s = median(prefill);
  result.prefill_tok_s = batch * static_cast<double>(flags.prompt_tokens) / result.ttft_s;
  result.decode_tok_s =
      flags.gen_tokens > 1 ? batch * static_cast<double>(flags.gen_tokens - 1) / median(decode) : 0;
  result.prefill_flops_s = model.flops_per_token() * result.prefill_tok_s;
  result.predicted_peak = model.predicted_peak_bytes(positions, flags.prompt_tokens, flags.batch);
  result.measured_peak = peak_resident_bytes();
  return result;
}

nlohmann::ordered_json to_json(const BenchResult& r, const MachineRates& rates) {
  constexpr double kGiga = 1e9;
  // Weights are read once for a token of every sequence.
  const double passes_s = r.decode_tok_s / static_cast<double>(r.batch);
  const double disk_bytes = r.disk_bytes_per_token * static_cast<double>(r.batch);
  const double resident_bytes = std::max(0.0, static_cast<double>(r.weight_bytes) - disk_bytes);
  // What the slower of memory and drive allows a pass, had nothing else to be done.
  double limit_s = 0;
  if (rates.memory_bytes_s > 0) {
    limit_s = static_cast<double>(r.weight_bytes) / rates.memory_bytes_s;
  }
  if (rates.disk_bytes_s > 0) {
    limit_s = std::max(limit_s, disk_bytes / rates.disk_bytes_s);
  }
  return {{"batch", r.batch},
          {"device_map", r.plan["device_map"]},
          {"bytes", r.plan["bytes"]},
          {"load_s", r.load_s},
          {"ttft_s", r.ttft_s},
          {"prefill_tok_s", r.prefill_tok_s},
          {"decode_tok_s", r.decode_tok_s},
          {"peak_bytes", {{"predicted", r.predicted_peak}, {"measured", r.measured_peak}}},
          {"peak_rss_bytes", r.measured_peak},
          {"weight_bytes", r.weight_bytes},
          {"disk_bytes_per_token", r.disk_bytes_per_token},
          {"memory_gb_s", resident_bytes * passes_s / kGiga},
          {"disk_gb_s", r.disk_bytes_per_token * r.decode_tok_s / kGiga},
          {"prefill_gflops", r.prefill_flops_s / kGiga},
          {"probe",
           {{"memory_gb_s", rates.memory_bytes_s / kGiga},
            {"disk_gb_s", rates.disk_bytes_s / kGiga},
            {"f32_gflops", rates.f32_flops / kGiga}}},
          {"share_of_limit", limit_s * passes_s},
          {"prefill_share_of_f32_peak",
           rates.f32_flops > 0 ? r.prefill_flops_s / rates.f32_flops : 0.0}};
}

void print_json(const BenchFlags& flags, const BenchResult& result, const MachineRates& rates) {
  nlohmann::ordered_json json = to_json(result, rates);
  if (flags.predict) json["predicted"] = result.plan["predicted"];
  std::cout << json.dump() << '\n';
}

void print_text(const BenchFlags& flags, const BenchResult& r, const MachineRates& rates) {
  const auto json = to_json(r, rates);
  std::cout << std::fixed << std::setprecision(2) << "load         " << r.load_s << " s\n"
            << "first token  " << r.ttft_s << " s\n"
            << std::setprecision(1) << "prefill      " << r.prefill_tok_s << " tok/s, "
            << 100 * json["prefill_share_of_f32_peak"].get<double>() << " % of the f32 peak\n"
            << "decode       " << r.decode_tok_s << " tok/s, "
            << 100 * json["share_of_limit"].get<double>() << " % of what memory and drive allow\n"
            << "peak memory  " << human_bytes(r.measured_peak) << " measured, "
            << human_bytes(r.predicted_peak) << " predicted\n"
            << "probes       memory " << rates.memory_bytes_s / 1e9 << " GB/s, drive "
            << rates.disk_bytes_s / 1e9 << " GB/s, f32 " << rates.f32_flops / 1e9 << " GFLOP/s\n";
  if (!flags.predict) return;
  const auto& predicted = r.plan["predicted"];
  std::cout << "predicted    " << predicted["decode_tok_s"].get<double>() << " tok/s, bound by "
            << predicted["bound_by"].get<std::string>() << '\n';
}

void run(const BenchFlags& flags) {
  const BenchResult result = measure(flags);
  MachineRates rates;
  if (!flags.no_probe) {
    ProbeOptions probe{.threads = flags.load.options.threads};
    const bool reads = result.disk_bytes_per_token > 0 && !flags.load.options.synthetic;
    if (reads) probe.file = largest_file(flags.load.model);
    rates = measure_machine(probe);
  }
  if (flags.json) {
    print_json(flags, result, rates);
  } else {
    print_text(flags, result, rates);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench",
                         "Measures a model: load, first token, rates, memory, and the share of "
                         "this machine's limits\n\n"
                         "  shoehorn bench MODEL --prompt-tokens 512 --gen-tokens 64\n"
                         "  shoehorn bench --synthetic llama-3-8b --load-in-4bit --batch 8");
  add_load_flags(*command, flags->load);
  command->add_option("--prompt-tokens", flags->prompt_tokens, "Tokens of the prompt")
      ->check(kCount)
      ->capture_default_str();
  command->add_option("--gen-tokens", flags->gen_tokens, "Tokens to generate")
      ->check(kCount)
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "Sequences that are prefilled and decoded together")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--repetitions", flags->repetitions, "Runs after a first one to warm up")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command
      ->add_option("--least-seconds", flags->least_seconds,
                   "Repeats short runs until they took so long together")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_flag("--no-probe", flags->no_probe, "Does not measure the machine");
  command->add_flag("--predict", flags->predict,
                    "Measures rates before loading, and adds what the plan predicts from them");
  command->add_flag("--json", flags->json, "Prints one JSON object");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
