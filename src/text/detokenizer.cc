// A stream is the chain of decoder stages with a string at its end.
#include "shoehorn/detokenizer.h"

#include <utility>
#include <vector>

#include "text/decoder.h"
#include "text/tokenizer_impl.h"

namespace shoehorn {

namespace {

// The end of the chain.
class Sink : public text::DecoderStage {
 public:
  void chunk(std::string_view text) override { text_.append(text); }
  void end_item() override {}
  void finish() override {}
  std::string take() { return std::exchange(text_, {}); }

 private:
  std::string text_;
};

}  // namespace

struct DetokenizerStream::Impl {
  Impl(const Tokenizer::Impl& t, bool skip, SkipRule skip_rule)
      : tokenizer(t), skip_special_tokens(skip), rule(skip_rule) {
    first = &sink;
    for (auto decoder = t.decoders.rbegin(); decoder != t.decoders.rend(); ++decoder) {
      stages.push_back((*decoder)->make_stage(*first));
      first = stages.back().get();
    }
  }

  const Tokenizer::Impl& tokenizer;
  bool skip_special_tokens;
  SkipRule rule;
  Sink sink;
  std::vector<std::unique_ptr<text::DecoderStage>> stages;  // last to first
  text::DecoderStage* first;
};

DetokenizerStream::DetokenizerStream(const Tokenizer& tokenizer, bool skip_special_tokens,
                                     SkipRule rule)
    : impl_(std::make_unique<Impl>(*tokenizer.impl_, skip_special_tokens, rule)) {}
DetokenizerStream::~DetokenizerStream() = default;
DetokenizerStream::DetokenizerStream(DetokenizerStream&& other) noexcept = default;
DetokenizerStream& DetokenizerStream::operator=(DetokenizerStream&& other) noexcept = default;

std::string DetokenizerStream::push(std::int32_t id) {
  const Tokenizer::Impl& tokenizer = impl_->tokenizer;
  const auto token = tokenizer.decoded_token(id);
  if (!token) return {};
  if (impl_->skip_special_tokens) {
    const bool special = impl_->rule == SkipRule::kById
                             ? tokenizer.added_tokens.is_special(id)
                             : tokenizer.added_tokens.is_special_text(*token);
    if (special) return {};
  }
  impl_->first->item(*token);
  return impl_->sink.take();
}

std::string DetokenizerStream::flush() {
  impl_->first->finish();
  return impl_->sink.take();
}

}  // namespace shoehorn
