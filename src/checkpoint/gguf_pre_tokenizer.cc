// The names are llama.cpp's; what they mean is in the tokenizer.json of the models they were given
// for. The regexes are part of those models: another cut gives other ids.
#include "checkpoint/gguf_pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::gguf {
namespace {

using Json = nlohmann::ordered_json;

/// Rules that several names share.
enum class Rule : std::uint8_t {
  kGpt2,           // ByteLevel's own regex
  kDigits,         // digits one by one, then GPT-2
  kFalcon,         // punctuation runs, GPT-2, digits in threes
  kLlama3,         // cl100k-like, digits up to three
  kQwen2,          // the same, digits one by one
  kSeedCoder,      // the same, line breaks apart from punctuation
  kO200k,          // letter case, digits up to three
  kTekken,         // letter case without contractions, digits one by one
  kDeepSeekLlm,    // scripts listed by range
  kDeepSeekCoder,  // letters, punctuation, CJK, digits one by one
  kDeepSeek3,      // digits up to three, CJK, words
};

struct Named {
  std::string_view name;
  Rule rule;
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos_token = false;
};

constexpr std::array<Named, 23> kNamed = {{
    {"default", Rule::kGpt2},
    {"gpt-2", Rule::kGpt2},
    {"phi-2", Rule::kGpt2},
    {"mpt", Rule::kGpt2, true},
    {"olmo", Rule::kGpt2, true},
    {"smollm", Rule::kDigits},
    {"starcoder", Rule::kDigits},
    {"refact", Rule::kDigits},
    {"codeshell", Rule::kDigits},
    {"command-r", Rule::kDigits, true},
    {"falcon", Rule::kFalcon},
    {"llama-bpe", Rule::kLlama3, false, true, true},
    {"llama3", Rule::kLlama3, false, true, true},
    {"llama-v3", Rule::kLlama3, false, true, true},
    {"smaug-bpe", Rule::kLlama3},
    {"qwen2", Rule::kQwen2, true},
    {"deepseek-r1-qwen", Rule::kQwen2, true},
    {"seed-coder", Rule::kSeedCoder},
    {"tekken", Rule::kTekken, false, true, true},
    {"gpt-4o", Rule::kO200k},
    {"deepseek-llm", Rule::kDeepSeekLlm},
    {"deepseek-coder", Rule::kDeepSeekCoder},
    {"deepseek-v3", Rule::kDeepSeek3},
}};

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json split(std::string_view regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json digits(bool individual) {
  return {{"type", "Digits"}, {"individual_digits", individual}};
}

Json sequence(Json parts) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

constexpr std::string_view kContractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
constexpr std::string_view kLetters = R"([^\r\n\p{L}\p{N}]?\p{L}+)";
constexpr std::string_view kOthers = R"( ?[^\s\p{L}\p{N}]+[\r\n]*)";
constexpr std::string_view kOthersOrSlash = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)";
constexpr std::string_view kSpaces = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

std::string llama3_like(std::string_view digit_run, std::string_view others) {
  return str_cat(kContractions, "|", kLetters, "|", digit_run, "|", others, "|", kSpaces);
}

/// Words as lower-case runs behind an upper-case start, then upper-case runs, each with `tail`.
std::string case_aware(std::string_view tail, std::string_view digit_run) {
  constexpr std::string_view kStart = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])";
  constexpr std::string_view kRest = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  return str_cat(kStart, "*", kRest, "+", tail, "|", kStart, "+", kRest, "*", tail, "|", digit_run,
                 "|", kOthersOrSlash, "|", kSpaces);
}

std::string utf8(char32_t c) {
  std::string out;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
  return out;
}

struct Range {
  char32_t first;
  char32_t last;
};

/// "[A-Za-z]" of { {'A', 'Z'}, {'a', 'z'} }.
std::string character_class(std::span<const Range> ranges) {
  std::string out = "[";
  for (const Range& range : ranges) {
    out += utf8(range.first);
    if (range.last != range.first) out += "-" + utf8(range.last);
  }
  return out + "]";
}

// Cased letters, as DeepSeek LLM's tokenizer lists them (Unicode 11 without Georgian lower case).
constexpr std::array<Range, 87> kDeepSeekLetters = {{
    {0x0041, 0x005A},   {0x0061, 0x007A},   {0x00B5, 0x00B5},   {0x00C0, 0x00D6},
    {0x00D8, 0x00F6},   {0x00F8, 0x01BA},   {0x01BC, 0x01BF},   {0x01C4, 0x0293},
    {0x0295, 0x02AF},   {0x0370, 0x0373},   {0x0376, 0x0376},   {0x0377, 0x0377},
    {0x037B, 0x037D},   {0x037F, 0x037F},   {0x0386, 0x0386},   {0x0388, 0x038A},
    {0x038C, 0x038C},   {0x038E, 0x03A1},   {0x03A3, 0x03F5},   {0x03F7, 0x0481},
    {0x048A, 0x052F},   {0x0531, 0x0556},   {0x10A0, 0x10C5},   {0x13A0, 0x13F5},
    {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},
    {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},
    {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},
    {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},
    {0x1FB6, 0x1FBC},   {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},
    {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},
    {0x1FF6, 0x1FFC},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},
    {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},
    {0x213C, 0x213F},   {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2183},
    {0x2184, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},
    {0x2CF2, 0x2CF2},   {0x2CF3, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},
    {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},   {0xAB70, 0xABBF},
    {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},
    {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2},
    {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
}};

constexpr std::array<Range, 3> kDeepSeekCjk = {
    {{0x4E00, 0x9FA5}, {0x0800, 0x4E00}, {0xAC00, 0xD7FF}}};
constexpr std::array<Range, 3> kDeepSeek3Cjk = {
    {{0x4E00, 0x9FA5}, {0x3040, 0x309F}, {0x30A0, 0x30FF}}};
constexpr std::array<Range, 6> kDeepSeekPunctuation = {{{'!', '/'},
                                                        {':', '~'},
                                                        {0xFF01, 0xFF0F},
                                                        {0xFF1A, 0xFF5E},
                                                        {0x2018, 0x201F},
                                                        {0x3000, 0x3002}}};

Json deepseek_llm() {
  return sequence({split("[\r\n]"), split("\\s?" + character_class(kDeepSeekLetters) + "+"),
                   split("\\s?" + character_class(kDeepSeekPunctuation) + "+"), split("\\s+$"),
                   split(character_class(kDeepSeekCjk) + "+"), digits(true), byte_level(false)});
}

Json deepseek_coder() {
  return sequence({split("[\r\n]"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
                   split(character_class(kDeepSeekCjk) + "+"), digits(true), byte_level(false)});
}

Json deepseek3() {
  constexpr std::string_view kWords =
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
      R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return sequence({split(R"(\p{N}{1,3})"), split(character_class(kDeepSeek3Cjk) + "+"),
                   split(kWords), byte_level(false)});
}

Json falcon() {
  return sequence({Json{{"type", "Punctuation"}, {"behavior", "Contiguous"}}, byte_level(true),
                   digits(false), split("[0-9][0-9][0-9]")});
}

Json pre_tokenizer_of(Rule rule) {
  constexpr std::string_view kOne = R"(\p{N})";
  constexpr std::string_view kUpToThree = R"(\p{N}{1,3})";
  const auto split_then_bytes = [](const std::string& regex) {
    return sequence({split(regex), byte_level(false)});
  };
  switch (rule) {
    case Rule::kGpt2: return byte_level(true);
    case Rule::kDigits: return sequence({digits(true), byte_level(true)});
    case Rule::kFalcon: return falcon();
    case Rule::kLlama3: return split_then_bytes(llama3_like(kUpToThree, kOthers));
    case Rule::kQwen2: return split_then_bytes(llama3_like(kOne, kOthers));
    case Rule::kSeedCoder:
      return split_then_bytes(llama3_like(R"(\p{N}{1})", R"( ?[^\s\p{L}\p{N}\r\n]+)"));
    case Rule::kO200k: return split_then_bytes(case_aware(str_cat(kContractions, "?"), kUpToThree));
    case Rule::kTekken: return split_then_bytes(case_aware("", kOne));
    case Rule::kDeepSeekLlm: return deepseek_llm();
    case Rule::kDeepSeekCoder: return deepseek_coder();
    case Rule::kDeepSeek3: break;
  }
  return deepseek3();
}

}  // namespace

PreTokenizer pre_tokenizer_named(std::string_view name, const std::filesystem::path& path) {
  std::string known;
  for (const Named& named : kNamed) {
    if (named.name == name) {
      return {.normalizer = named.nfc ? R"({"type":"NFC"})" : "null",
              .pre_tokenizer = pre_tokenizer_of(named.rule).dump(),
              .ignore_merges = named.ignore_merges,
              .add_bos_token = named.add_bos_token};
    }
    known += str_cat(known.empty() ? "" : ", ", named.name);
  }
  throw UnsupportedError(str_cat(path.string(), ": tokenizer.ggml.pre is ", printable(name),
                                 "; supported pre-tokenizers are ", known));
}

}  // namespace shoehorn::gguf
