// shoehorn: the command line. A command a file; this one puts them together and turns errors into
// exit codes: 0 done, 1 the request cannot be met, 2 wrong usage.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "shoehorn/error.h"

#include "commands.h"

int main(int argc, char** argv) {
  CLI::App app{
      "shoehorn runs models that do not fit: it decides where every weight lives under the limits\n"
      "you set and streams what is far away just before it is needed.\n\n"
      "  shoehorn run MODEL -p \"Once upon a time\"\n"
      "  shoehorn run MODEL --max-memory cpu=6GiB --stats -p \"...\"\n"
      "  shoehorn plan MODEL --max-memory cpu=6GiB\n"};
  app.name("shoehorn");
  app.require_subcommand(1);
  app.set_version_flag("--version", "shoehorn " SHOEHORN_VERSION);
  int exit_code = 0;
  shoehorn::cli::add_run(app, exit_code);
  shoehorn::cli::add_plan(app);
  shoehorn::cli::add_inspect(app);
  shoehorn::cli::add_convert(app);
  shoehorn::cli::add_quantize(app);
  shoehorn::cli::add_logits(app);
  shoehorn::cli::add_tokenize(app);
  shoehorn::cli::add_template(app);
  shoehorn::cli::add_pull(app);
  shoehorn::cli::add_bench(app);
  shoehorn::cli::add_eval(app);
  shoehorn::cli::add_doctor(app);
  shoehorn::cli::add_cache(app);
  try {
    app.parse(argc, argv);
    std::cout.flush();
    return exit_code;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const shoehorn::ArgumentError& error) {
    std::cerr << "shoehorn: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "shoehorn: " << error.what() << '\n';
    return 1;
  }
}
