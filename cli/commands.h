// One function a command: adds it, with its options and what it does, to the command line.
#pragma once

#include <CLI/CLI.hpp>

namespace shoehorn::cli {

void add_run(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app);
void add_inspect(CLI::App& app);
void add_logits(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_template(CLI::App& app);
void add_pull(CLI::App& app);
void add_bench(CLI::App& app);
void add_eval(CLI::App& app);
void add_convert(CLI::App& app);
void add_quantize(CLI::App& app);
void add_doctor(CLI::App& app);
void add_cache(CLI::App& app);

}  // namespace shoehorn::cli
