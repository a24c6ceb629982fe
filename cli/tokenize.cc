// shoehorn tokenize: text to ids and back, a line of JSON at a time.

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "commands.h"

namespace shoehorn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TokenizeFlags {
  std::string model;
  std::string prompt;
  std::string file;
  bool count = false;
  bool jsonl = false;
  bool no_special = false;
  bool decode = false;
  bool skip_special = false;
  bool stream = false;
};

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json encode_line(const Tokenizer& tokenizer, const Json& line, const TokenizeFlags& flags) {
  const EncodeOptions options{.add_special_tokens = !flags.no_special};
  const std::string text = line.at("text");
  const Encoding encoding =
      line.contains("pair") ? tokenizer.encode_pair(text, line["pair"].get<std::string>(), options)
                            : tokenizer.encode(text, options);
  return {{"ids", encoding.ids}, {"type_ids", encoding.type_ids}};
}

Json decode_line(const Tokenizer& tokenizer, const Json& line, const TokenizeFlags& flags) {
  const auto ids = line.at("ids").get<std::vector<std::int32_t>>();
  if (!flags.stream) return {{"text", tokenizer.decode(ids, flags.skip_special)}};
  // Scripts compare these pieces with those of the tokenizers library.
  DetokenizerStream stream(tokenizer, flags.skip_special, SkipRule::kByText);
  Json pieces = Json::array();
  for (const std::int32_t id : ids) pieces.push_back(stream.push(id));
  return {{"pieces", std::move(pieces)}, {"flush", stream.flush()}};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (file.bad() || !file.is_open()) throw FileError(path, "cannot be read");
  return bytes;
}

/// One text: the prompt, or a file as it is, which need not be UTF-8.
void encode_text(const Tokenizer& tokenizer, const TokenizeFlags& flags, double load_s) {
  const std::string text = flags.file.empty() ? flags.prompt : read_bytes(flags.file);
  const auto start = std::chrono::steady_clock::now();
  const Encoding encoding = tokenizer.encode(text, {.add_special_tokens = !flags.no_special});
  const double encode_s = seconds_since(start);
  if (flags.count) {
    std::cout << dump({{"bytes", text.size()},
                       {"tokens", encoding.ids.size()},
                       {"load_s", load_s},
                       {"encode_s", encode_s}})
              << '\n';
    return;
  }
  std::string line;
  for (const std::int32_t id : encoding.ids) line += std::to_string(id) + ' ';
  std::cout << line << '\n';
}

void run(const TokenizeFlags& flags) {
  const auto start = std::chrono::steady_clock::now();
  const Tokenizer tokenizer = load_tokenizer(flags.model);
  const double load_s = seconds_since(start);
  for (const std::string& warning : tokenizer.warnings()) std::cerr << "note: " << warning << '\n';
  if (!flags.jsonl && !flags.decode) return encode_text(tokenizer, flags, load_s);
  std::size_t number = 0;
  for (std::string text; std::getline(std::cin, text);) {
    ++number;
    if (text.empty()) continue;
    try {
      const Json line = Json::parse(text);
      std::cout << dump(flags.decode ? decode_line(tokenizer, line, flags)
                                     : encode_line(tokenizer, line, flags))
                << '\n';
    } catch (const Json::exception& error) {
      throw FormatError("line " + std::to_string(number) + " of stdin: " + error.what());
    }
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command =
      app.add_subcommand("tokenize",
                         "Turns text into ids and back\n\n"
                         "  shoehorn tokenize MODEL -p \"Hello\"\n"
                         "  echo '{\"text\": \"Hello\"}' | shoehorn tokenize MODEL --jsonl\n"
                         "  echo '{\"ids\": [1, 2]}' | shoehorn tokenize MODEL --jsonl --decode");
  command->add_option("MODEL", flags->model, "A model, or a folder with a tokenizer.json")
      ->required();
  command->add_option("-p,--prompt", flags->prompt, "One text; prints its ids");
  command->add_option("--file", flags->file, "One text from a file; prints its ids");
  command->add_flag(
      "--count", flags->count,
      "Prints {\"bytes\", \"tokens\", \"load_s\", \"encode_s\"} of the text in place of "
      "its ids");
  command->add_flag("--jsonl", flags->jsonl, "A line of JSON in, a line of JSON out");
  command->add_flag("--no-special", flags->no_special, "Adds no special tokens");
  command->add_flag("--decode", flags->decode, "From ids to text");
  command->add_flag("--skip-special", flags->skip_special, "Leaves special tokens out of the text");
  command->add_flag("--stream", flags->stream, "Decodes piece by piece");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
