// The decoders that turn marks in tokens back into the spaces between words.
#include <array>
#include <optional>
#include <utility>

#include "base/str_cat.h"
#include "text/decoder_stages.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

// The spaces that tokenizing English put before punctuation and contractions.
std::string clean_up(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" do not", " don't"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kRules) {
    if (text.find(from) != std::string::npos) text = replace_all(text, from, to);
  }
  return text;
}

struct WordPieceConfig {
  std::string prefix;
  bool cleanup = true;
};

class WordPieceStage : public ItemStage {
 public:
  WordPieceStage(DecoderStage& next, const WordPieceConfig& config)
      : ItemStage(next), config_(config) {}

 protected:
  void on_item(const std::string& item) override {
    std::string text = item;
    if (!first_) {
      if (text.compare(0, config_.prefix.size(), config_.prefix) == 0) {
        text.erase(0, config_.prefix.size());
      } else {
        text.insert(0, 1, ' ');
      }
    }
    first_ = false;
    next().item(config_.cleanup ? clean_up(std::move(text)) : text);
  }

 private:
  const WordPieceConfig& config_;
  bool first_ = true;
};

// The suffix of a token is a space, but nothing at the end of the text. So from the first suffix on
// a token has to wait for the next one.
class BpeStage : public ItemStage {
 public:
  BpeStage(DecoderStage& next, const std::string& suffix) : ItemStage(next), suffix_(suffix) {}

 protected:
  void on_item(const std::string& item) override {
    release(" ");
    const std::size_t begin = std::min(item.find(suffix_), item.size());
    next().chunk(std::string_view{item}.substr(0, begin));
    held_ = item.substr(begin);
  }
  void on_finish() override { release(""); }

 private:
  void release(std::string_view replacement) {
    if (!held_) return;
    next().item(replace_all(*held_, suffix_, replacement));
    held_.reset();
  }

  const std::string& suffix_;
  std::optional<std::string> held_;  // the end of the last token; set from the first token on
};

struct MetaspaceConfig {
  std::string replacement;
  bool drop_first = true;  // the marks in the first token
};

class MetaspaceStage : public LinkedStage {
 public:
  MetaspaceStage(DecoderStage& next, const MetaspaceConfig& config)
      : LinkedStage(next), config_(config) {}
  void chunk(std::string_view text) override {
    const std::string_view space = first_ && config_.drop_first ? "" : " ";
    next().chunk(replace_all(text, config_.replacement, space));
  }
  void end_item() override {
    first_ = false;
    next().end_item();
  }
  void finish() override { next().finish(); }

 private:
  const MetaspaceConfig& config_;
  bool first_ = true;
};

struct CtcConfig {
  std::string pad_token;
  std::string word_delimiter_token;
  bool cleanup = true;
};

class CtcStage : public ItemStage {
 public:
  CtcStage(DecoderStage& next, const CtcConfig& config) : ItemStage(next), config_(config) {}

 protected:
  void on_item(const std::string& item) override {
    if (last_ == item) return;
    last_ = item;
    std::string text = replace_all(item, config_.pad_token, "");
    if (config_.cleanup) {
      text = replace_all(clean_up(std::move(text)), config_.word_delimiter_token, " ");
    }
    if (!text.empty()) next().item(text);
  }

 private:
  const CtcConfig& config_;
  std::optional<std::string> last_;
};

}  // namespace

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string_view::npos;) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
    if (!from.empty()) {
      at = done;
    } else if (at < text.size()) {
      at += sequence_length(text[at]);
    } else {
      break;
    }
  }
  out.append(text.substr(done));
  return out;
}

std::unique_ptr<const Decoder> make_word_piece_decoder(const JsonValue& config) {
  return std::make_unique<ConfiguredDecoder<WordPieceStage, WordPieceConfig>>(
      WordPieceConfig{config.string_or("prefix", "##"), config.bool_or("cleanup", true)});
}

std::unique_ptr<const Decoder> make_bpe_decoder(const JsonValue& config) {
  return std::make_unique<ConfiguredDecoder<BpeStage, std::string>>(
      config.string_or("suffix", "</w>"));
}

std::unique_ptr<const Decoder> make_metaspace_decoder(const JsonValue& config) {
  MetaspaceConfig result;
  result.replacement = config.string_or("replacement", "\xE2\x96\x81");
  if (count_characters(result.replacement) != 1) {
    config.fail(str_cat("replacement \"", result.replacement, "\" is not one character"));
  }
  result.drop_first = config.string_or("prepend_scheme", "always") != "never" &&
                      config.bool_or("add_prefix_space", true);
  return std::make_unique<ConfiguredDecoder<MetaspaceStage, MetaspaceConfig>>(std::move(result));
}

std::unique_ptr<const Decoder> make_ctc_decoder(const JsonValue& config) {
  return std::make_unique<ConfiguredDecoder<CtcStage, CtcConfig>>(
      CtcConfig{config.string_or("pad_token", "<pad>"),
                config.string_or("word_delimiter_token", "|"), config.bool_or("cleanup", true)});
}

}  // namespace shoehorn::text
