// The decoders that put characters together from bytes.
#include "text/byte_level.h"
#include "text/decoder_stages.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

struct NoConfig {};

// All tokens become one string of bytes, read as UTF-8. An unfinished character waits.
class ByteLevelStage : public LinkedStage {
 public:
  ByteLevelStage(DecoderStage& next, NoConfig) : LinkedStage(next) {}

  void chunk(std::string_view text) override { token_.append(text); }
  void end_item() override {
    // A token with any other character in it stands for itself.
    if (!append_byte_level_decoded(pending_, token_)) pending_.append(token_);
    token_.clear();
    std::string out;
    drain_utf8_lossy(pending_, out);
    if (!out.empty()) next().chunk(out);
  }
  void finish() override {
    if (!pending_.empty()) next().chunk(kReplacementUtf8);
    pending_.clear();
    next().end_item();
    next().finish();
  }

 private:
  std::string token_;
  std::string pending_;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte of a token like <0x0A>, -1 if it is none. The library's number parser takes <0x+A> too.
int byte_of(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  const int low = hex_digit(token[4]);
  if (token[3] == '+') return low;
  const int high = hex_digit(token[3]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// A run of byte tokens is one string if it is UTF-8 from beginning to end, else one U+FFFD a token.
class ByteFallbackStage : public ItemStage {
 public:
  ByteFallbackStage(DecoderStage& next, NoConfig) : ItemStage(next) {}

 protected:
  void on_item(const std::string& item) override {
    const int byte = byte_of(item);
    if (byte < 0) {
      end_run();
      next().item(item);
      return;
    }
    if (broken_) {
      next().item(kReplacementUtf8);
      return;
    }
    run_.push_back(static_cast<char>(byte));
    check_run();
  }
  void on_finish() override { end_run(); }

 private:
  void check_run() {
    while (checked_ < run_.size()) {
      const Utf8Sequence next = scan_utf8(std::string_view{run_}.substr(checked_));
      if (next.kind == Utf8Sequence::kIncomplete) return;
      if (next.kind == Utf8Sequence::kInvalid) {
        broken_ = true;
        replace_run();
        return;
      }
      checked_ += next.length;
    }
  }
  void replace_run() {
    for (std::size_t i = 0; i < run_.size(); ++i) next().item(kReplacementUtf8);
    run_.clear();
  }
  void end_run() {
    if (!broken_ && !run_.empty()) {
      if (checked_ == run_.size()) {
        next().item(run_);
      } else {
        replace_run();
      }
    }
    run_.clear();
    checked_ = 0;
    broken_ = false;
  }

  std::string run_;
  std::size_t checked_ = 0;  // bytes of the run that are whole characters
  bool broken_ = false;      // the run is no UTF-8, and what came of it is handed on
};

}  // namespace

std::unique_ptr<const Decoder> make_byte_level_decoder() {
  return std::make_unique<ConfiguredDecoder<ByteLevelStage, NoConfig>>(NoConfig{});
}

std::unique_ptr<const Decoder> make_byte_fallback_decoder() {
  return std::make_unique<ConfiguredDecoder<ByteFallbackStage, NoConfig>>(NoConfig{});
}

}  // namespace shoehorn::text
