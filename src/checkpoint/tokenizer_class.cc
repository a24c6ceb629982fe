#include "checkpoint/tokenizer_class.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

using Name = TokenizerClassName;
using Kind = TokenizerKind;

constexpr std::string_view kEot = "<|endoftext|>";

// bos, eos, unk, sep, pad, cls, mask: the defaults of the class's constructor.
constexpr TokenizerClass kClasses[] = {
    {Name::kGpt2, Kind::kByteLevelBpe, {kEot, kEot, kEot}},
    {Name::kCodeGen, Kind::kByteLevelBpe, {kEot, kEot, kEot}},
    {Name::kGptNeoX, Kind::kByteLevelBpe, {kEot, kEot, kEot, "", "<|padding|>"}},
    {Name::kQwen2, Kind::kByteLevelBpe, {"", kEot, kEot, "", kEot}},
    {Name::kQwen35, Kind::kByteLevelBpe, {"", kEot, kEot, "", kEot}},
    {Name::kRoberta,
     Kind::kByteLevelBpe,
     {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
    {Name::kCohere,
     Kind::kByteLevelBpe,
     {"<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", "<UNK>", "<SEP>", "<PAD>", "<CLS>", "<MASK_TOKEN>"}},
    {Name::kBert, Kind::kWordPiece, {"", "", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}},
    {Name::kLlama, Kind::kSentencePiece, {"<s>", "</s>", "<unk>"}},
    {Name::kCodeLlama, Kind::kSentencePiece, {"<s>", "</s>", "<unk>"}},
    {Name::kGemma, Kind::kSentencePiece, {"<bos>", "<eos>", "<unk>", "", "<pad>", "", "<mask>"}},
    {Name::kT5, Kind::kSentencePiece, {"", "</s>", "<unk>", "", "<pad>"}},
    {Name::kXlmRoberta,
     Kind::kSentencePiece,
     {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
    {Name::kGeneric, Kind::kSentencePiece, {}},
};

struct NamedClass {
  std::string_view name;  // without "Tokenizer"
  Name meaning;
};

constexpr NamedClass kNamedClasses[] = {
    {"GPT2", Name::kGpt2},       {"CodeGen", Name::kCodeGen},       {"GPTNeoX", Name::kGptNeoX},
    {"Qwen2", Name::kQwen2},     {"Qwen3_5", Name::kQwen35},        {"Roberta", Name::kRoberta},
    {"Bart", Name::kRoberta},    {"Cohere", Name::kCohere},         {"Bert", Name::kBert},
    {"DistilBert", Name::kBert}, {"Electra", Name::kBert},          {"MobileBert", Name::kBert},
    {"Llama", Name::kLlama},     {"CodeLlama", Name::kCodeLlama},   {"Gemma", Name::kGemma},
    {"T5", Name::kT5},           {"XLMRoberta", Name::kXlmRoberta},
};

// transformers' TOKENIZER_MAPPING_NAMES, of the classes above, and the models whose tokenizers are
// generic whatever class their files name.
struct ModelClass {
  std::string_view model_type;
  Name name;
};

constexpr ModelClass kModelClasses[] = {
    {"align", Name::kBert},
    {"bart", Name::kRoberta},
    {"bert", Name::kBert},
    {"bridgetower", Name::kRoberta},
    {"blip", Name::kBert},
    {"blip-2", Name::kGpt2},
    {"code_llama", Name::kCodeLlama},
    {"codegen", Name::kGpt2},
    {"cohere", Name::kCohere},
    {"cohere2", Name::kCohere},
    {"convbert", Name::kBert},
    {"dbrx", Name::kGpt2},
    {"distilbert", Name::kBert},
    {"electra", Name::kBert},
    {"falcon_mamba", Name::kGptNeoX},
    {"gemma", Name::kGemma},
    {"gemma2", Name::kGemma},
    {"gemma3", Name::kGemma},
    {"gemma3_text", Name::kGemma},
    {"gemma3n", Name::kGemma},
    {"gpt2", Name::kGpt2},
    {"gpt_neo", Name::kGpt2},
    {"gpt_neox", Name::kGptNeoX},
    {"gptj", Name::kGpt2},
    {"ibert", Name::kRoberta},
    {"idefics", Name::kLlama},
    {"longformer", Name::kRoberta},
    {"mamba", Name::kGptNeoX},
    {"mamba2", Name::kGptNeoX},
    {"megatron-bert", Name::kBert},
    {"mpt", Name::kGptNeoX},
    {"mt5", Name::kT5},
    {"nomic_bert", Name::kBert},
    {"olmo", Name::kGptNeoX},
    {"olmoe", Name::kGptNeoX},
    {"opt", Name::kGpt2},
    {"phi", Name::kGpt2},
    {"qwen2", Name::kQwen2},
    {"qwen2_5_vl", Name::kQwen2},
    {"qwen2_audio", Name::kQwen2},
    {"qwen2_moe", Name::kQwen2},
    {"qwen2_vl", Name::kQwen2},
    {"qwen3", Name::kQwen2},
    {"qwen3_5", Name::kQwen35},
    {"qwen3_5_moe", Name::kQwen35},
    {"qwen3_5_text", Name::kQwen35},
    {"qwen3_moe", Name::kQwen2},
    {"qwen3_next", Name::kQwen2},
    {"recurrent_gemma", Name::kGemma},
    {"roberta", Name::kRoberta},
    {"rwkv", Name::kGptNeoX},
    {"starcoder2", Name::kGpt2},
    {"t5", Name::kT5},
    {"xlm-roberta", Name::kXlmRoberta},
    {"xlm-roberta-xl", Name::kGeneric},
    {"aria", Name::kGeneric},
    {"arctic", Name::kGeneric},
    {"ernie4_5", Name::kGeneric},
    {"flex_olmo", Name::kGeneric},
    {"fuyu", Name::kGeneric},
    {"glm", Name::kGeneric},
    {"glm4", Name::kGeneric},
    {"glm4_moe", Name::kGeneric},
    {"gpt_bigcode", Name::kGeneric},
    {"granite", Name::kGeneric},
    {"granitemoe", Name::kGeneric},
    {"internlm2", Name::kGeneric},
    {"internlm3", Name::kGeneric},
    {"jamba", Name::kGeneric},
    {"llava", Name::kGeneric},
    {"llava_next", Name::kGeneric},
    {"minicpm3", Name::kGeneric},
    {"ministral", Name::kGeneric},
    {"mistral", Name::kGeneric},
    {"mistral3", Name::kGeneric},
    {"mixtral", Name::kGeneric},
    {"nemotron", Name::kGeneric},
    {"olmo2", Name::kGeneric},
    {"olmo3", Name::kGeneric},
    {"persimmon", Name::kGeneric},
    {"phi3", Name::kGeneric},
    {"phimoe", Name::kGeneric},
    {"stablelm", Name::kGeneric},
    {"umt5", Name::kGeneric},
    {"vipllava", Name::kGeneric},
};

// Models whose files are known to name a wrong class: theirs is used instead.
constexpr std::string_view kWrongInFiles[] = {"qwen2",        "qwen3_5", "qwen3_5_moe",
                                              "qwen3_5_text", "phi3",    "internlm2"};

std::optional<Name> find_class(std::string_view text) {
  if (text.ends_with("Fast")) text.remove_suffix(4);
  if (!text.ends_with("Tokenizer")) return std::nullopt;
  text.remove_suffix(std::string_view("Tokenizer").size());
  const auto found = std::ranges::find(kNamedClasses, text, &NamedClass::name);
  return found == std::end(kNamedClasses) ? std::nullopt : std::optional(found->meaning);
}

bool is_generic_name(std::string_view text) {
  return text == "TokenizersBackend" || text == "PreTrainedTokenizer" || text == "PythonBackend";
}

const TokenizerClass& class_named(Name name) {
  return *std::ranges::find(kClasses, name, &TokenizerClass::name);
}

[[noreturn]] void fail_unknown(const TokenizerSettings& settings) {
  std::string known;
  for (const NamedClass& entry : kNamedClasses) {
    known += str_cat(known.empty() ? "" : ", ", entry.name, "Tokenizer");
  }
  throw UnsupportedError(
      str_cat(settings.folder().string(), ": there is no tokenizer.json, and tokenizer_class ",
              printable(settings.tokenizer_class()), " is not among the known ones (", known,
              "); with transformers, AutoTokenizer.from_pretrained(...).save_pretrained(...) "
              "writes a tokenizer.json"));
}

}  // namespace

const TokenizerClass& tokenizer_class_of(const TokenizerSettings& settings) {
  const std::string& named = settings.tokenizer_class();
  const auto model =
      std::ranges::find(kModelClasses, settings.model_type(), &ModelClass::model_type);
  const bool has_model = model != std::end(kModelClasses);
  if (named.empty()) return class_named(has_model ? model->name : Name::kGeneric);
  const std::optional<Name> by_name = find_class(named);
  if (has_model && by_name != model->name) {
    const bool wrong =
        std::ranges::find(kWrongInFiles, settings.model_type()) != std::end(kWrongInFiles);
    if (model->name == Name::kGeneric || wrong) return class_named(model->name);
  }
  if (is_generic_name(named)) return class_named(Name::kGeneric);
  if (!by_name) fail_unknown(settings);
  return class_named(*by_name);
}

}  // namespace shoehorn
