// Chains of decoders, and the small ones: Fuse, Strip, Replace, and joining where the file has
// none.
#include "text/decoder.h"

#include <algorithm>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/decoder_stages.h"
#include "text/pattern.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr int kMaxNesting = 32;
constexpr std::int64_t kMaxStrip = 1 << 20;

struct NoConfig {};

// One space between tokens.
class JoinStage : public LinkedStage {
 public:
  JoinStage(DecoderStage& next, NoConfig) : LinkedStage(next) {}
  void chunk(std::string_view text) override {
    begin_item();
    next().chunk(text);
  }
  void end_item() override {
    begin_item();
    next().end_item();
    in_item_ = false;
  }
  void finish() override { next().finish(); }

 private:
  void begin_item() {
    if (in_item_) return;
    if (!first_) next().chunk(" ");
    first_ = false;
    in_item_ = true;
  }
  bool first_ = true;
  bool in_item_ = false;
};

// All strings become one.
class FuseStage : public LinkedStage {
 public:
  FuseStage(DecoderStage& next, NoConfig) : LinkedStage(next) {}
  void chunk(std::string_view text) override { next().chunk(text); }
  void end_item() override {}
  void finish() override {
    next().end_item();
    next().finish();
  }
};

struct StripConfig {
  std::string content;
  std::size_t start = 0;
  std::size_t stop = 0;
};

// Up to `start` characters equal to the content go from the left, up to `stop` from the right;
// those wait until it is known whether something else follows.
class StripStage : public LinkedStage {
 public:
  StripStage(DecoderStage& next, const StripConfig& config) : LinkedStage(next), config_(config) {}

  void chunk(std::string_view text) override {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      const std::string_view character = text.substr(i, sequence_length(text[i]));
      i += character.size();
      const bool equal = character == config_.content;
      if (equal && at_start_ && stripped_ < config_.start) {
        ++stripped_;
        continue;
      }
      at_start_ = false;
      if (equal && held_ < config_.stop) {
        ++held_;
        continue;
      }
      if (!equal) {
        for (; held_ > 0; --held_) out.append(config_.content);
      }
      out.append(character);
    }
    if (!out.empty()) next().chunk(out);
  }
  void end_item() override {
    at_start_ = true;
    stripped_ = 0;
    held_ = 0;
    next().end_item();
  }
  void finish() override { next().finish(); }

 private:
  const StripConfig& config_;
  bool at_start_ = true;
  std::size_t stripped_ = 0;
  std::size_t held_ = 0;
};

struct ReplaceConfig {
  Pattern pattern;
  std::string content;
};

// A regular expression may look at the whole string, so it waits for its end.
class ReplaceRegexStage : public ItemStage {
 public:
  ReplaceRegexStage(DecoderStage& next, const ReplaceConfig& config)
      : ItemStage(next), config_(config), finder_(config.pattern) {}

 protected:
  void on_item(const std::string& item) override {
    const std::string_view text = item;
    std::string out;
    std::size_t done = 0;
    if (!item.empty()) {
      finder_.for_each_match(text, [&](std::size_t begin, std::size_t end) {
        out.append(text.substr(done, begin - done)).append(config_.content);
        done = end;
      });
    }
    next().item(out.append(text.substr(done)));
  }

 private:
  const ReplaceConfig& config_;
  PatternFinder finder_;
};

// A literal needs to wait only for what may be its beginning.
class ReplaceLiteralStage : public LinkedStage {
 public:
  ReplaceLiteralStage(DecoderStage& next, const ReplaceConfig& config)
      : LinkedStage(next), literal_(*config.pattern.literal()), content_(config.content) {}

  void chunk(std::string_view text) override {
    held_.append(text);
    const std::string_view all = held_;
    std::string out;
    std::size_t done = 0;
    for (std::size_t at; (at = all.find(literal_, done)) != all.npos; done = at + literal_.size()) {
      out.append(all.substr(done, at - done)).append(content_);
    }
    std::size_t tail = std::min(literal_.size() - 1, all.size() - done);
    while (tail > 0 && all.substr(all.size() - tail) != literal_.substr(0, tail)) --tail;
    out.append(all.substr(done, all.size() - tail - done));
    held_.erase(0, all.size() - tail);
    if (!out.empty()) next().chunk(out);
  }
  void end_item() override {
    if (!held_.empty()) next().chunk(held_);
    held_.clear();
    next().end_item();
  }
  void finish() override { next().finish(); }

 private:
  std::string_view literal_;
  const std::string& content_;
  std::string held_;
};

template <typename Stage>
std::unique_ptr<const Decoder> without_config() {
  return std::make_unique<ConfiguredDecoder<Stage, NoConfig>>(NoConfig{});
}

std::unique_ptr<const Decoder> make_strip(const JsonValue& config) {
  StripConfig result;
  result.content = config.string_or("content", " ");
  if (count_characters(result.content) != 1) {
    config.fail(str_cat("content \"", result.content, "\" is not one character"));
  }
  const auto count = [&](const char* key) {
    const std::int64_t value = config.at(key).as_integer();
    if (value < 0 || value > kMaxStrip) config.at(key).fail("expected a number from 0 to 1048576");
    return static_cast<std::size_t>(value);
  };
  result.start = count("start");
  result.stop = count("stop");
  return std::make_unique<ConfiguredDecoder<StripStage, StripConfig>>(std::move(result));
}

std::unique_ptr<const Decoder> make_replace(const JsonValue& config) {
  ReplaceConfig result{Pattern(config.at("pattern")), config.at("content").as_string()};
  const auto literal = result.pattern.literal();
  if (literal && !literal->empty()) {
    return std::make_unique<ConfiguredDecoder<ReplaceLiteralStage, ReplaceConfig>>(
        std::move(result));
  }
  return std::make_unique<ConfiguredDecoder<ReplaceRegexStage, ReplaceConfig>>(std::move(result));
}

void add_decoders(const JsonValue& config, std::vector<std::unique_ptr<const Decoder>>& decoders,
                  int depth) {
  const std::string& type = config.at("type").as_string();
  if (type == "Sequence") {
    if (depth > kMaxNesting) config.fail("sequences are nested too deeply");
    for (const JsonValue& item : config.at("decoders").items()) {
      add_decoders(item, decoders, depth + 1);
    }
  } else if (type == "ByteLevel") {
    decoders.push_back(make_byte_level_decoder());
  } else if (type == "ByteFallback") {
    decoders.push_back(make_byte_fallback_decoder());
  } else if (type == "WordPiece") {
    decoders.push_back(make_word_piece_decoder(config));
  } else if (type == "BPEDecoder") {
    decoders.push_back(make_bpe_decoder(config));
  } else if (type == "Metaspace") {
    decoders.push_back(make_metaspace_decoder(config));
  } else if (type == "CTC") {
    decoders.push_back(make_ctc_decoder(config));
  } else if (type == "Fuse") {
    decoders.push_back(without_config<FuseStage>());
  } else if (type == "Strip") {
    decoders.push_back(make_strip(config));
  } else if (type == "Replace") {
    decoders.push_back(make_replace(config));
  } else {
    config.unsupported(str_cat("unknown decoder \"", type, "\""));
  }
}

}  // namespace

std::vector<std::unique_ptr<const Decoder>> make_decoders(const JsonValue& config) {
  std::vector<std::unique_ptr<const Decoder>> decoders;
  if (config.is_null()) {
    decoders.push_back(without_config<JoinStage>());
  } else {
    add_decoders(config, decoders, 0);
  }
  return decoders;
}

}  // namespace shoehorn::text
