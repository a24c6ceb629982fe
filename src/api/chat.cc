// Chat: messages, the template, and a session whose positions are kept as far as prompts agree.

#include "shoehorn/chat.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "api/conversation.h"
#include "api/generation_request.h"
#include "api/model_impl.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

ChatTemplate template_of(const Model& model, const ChatOptions& options) {
  if (options.chat_template.empty()) return model.chat_template();
  return model.chat_template(options.chat_template);
}

std::size_t common_prefix(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

struct Chat::Impl {
  const Model* model;
  ChatOptions options;
  ChatTemplate chat_template;
  Conversation conversation;
  Session session;
  std::int64_t max_new_tokens = 0;     // what a reply may take at most
  std::size_t left_out = 0;            // messages behind the system prompt
  std::vector<std::int32_t> held_ids;  // what the session holds
  std::vector<std::int32_t> prompt_ids;
  std::optional<Generation> running;

  Impl(const Model& of, ChatOptions chosen)
      : model(&of),
        options(std::move(chosen)),
        chat_template(template_of(of, options)),
        session(of.new_session(options.capacity)) {
    if (!options.template_variables.empty()) {
      conversation.set_variables(options.template_variables);
    }
    if (!options.tools.empty()) conversation.set_tools(options.tools);
  }

  void settle();
  std::vector<std::int32_t> fitting_prompt();
  std::vector<std::int32_t> encode(const std::string& text) const {
    return model->tokenizer()->encode(text, {.add_special_tokens = false}).ids;
  }
};

// The reply that was running becomes part of the conversation.
void Chat::Impl::settle() {
  if (!running) return;
  held_ids = prompt_ids;
  const std::vector<std::int32_t>& said = running->ids();
  held_ids.insert(held_ids.end(), said.begin(), said.end());
  // Not all of it was computed: the last id seldom is, and a prompt that was given up is not.
  held_ids.resize(static_cast<std::size_t>(session.position()));
  if (said.empty()) {
    conversation.forget_last_user();
  } else {
    conversation.add("assistant", running->text());
  }
  running.reset();
}

// The ids of the conversation, of its last part where it does not fit whole.
std::vector<std::int32_t> Chat::Impl::fitting_prompt() {
  const std::int64_t room = session.capacity();
  const std::int64_t reserve = options.context_shift ? std::min(max_new_tokens, room / 2) : 0;
  std::vector<std::int32_t> ids = encode(chat_template.render(conversation.variables(left_out)));
  const auto length = [&] { return static_cast<std::int64_t>(ids.size()); };
  if (length() > room - reserve && options.context_shift) {
    // Down to half: what stays is computed anew, which must not happen in every turn.
    while (length() > (room - reserve) / 2) {
      const std::size_t next = conversation.turn_after(left_out);
      if (next == left_out) break;
      left_out = next;
      ids = encode(chat_template.render(conversation.variables(left_out)));
    }
  }
  if (length() > room) {
    throw PlanError(str_cat("the context is full: the conversation has ", length(),
                            " tokens, and there is room "
                            "for ",
                            room, "; a larger --max-context makes room",
                            options.context_shift
                                ? ", and not even the last turn fits"
                                : ", --context-shift leaves out the oldest turns"));
  }
  return ids;
}

Chat::Chat(const Model& model, ChatOptions options) {
  if (model.tokenizer() == nullptr) {
    throw UnsupportedError(str_cat(model.impl_->loaded->checkpoint().path().string(),
                                   ": has no tokenizer, so there is nothing to chat with"));
  }
  impl_ = std::make_unique<Impl>(model, std::move(options));
  GenerateOptions& generate = impl_->options.generate;
  GenerationConfig config = generation_request(model.impl_->generation_config, generate);
  impl_->max_new_tokens = config.max_length.value_or(config.max_new_tokens);
  // Checkpoints are about that name the end of text in generation_config.json, and the end of a
  // turn in tokenizer_config.json alone.
  const auto eos = impl_->chat_template.special_token("eos_token");
  const auto id = eos ? model.tokenizer()->token_to_id(*eos) : std::nullopt;
  if (!generate.eos_token_id && id) {
    if (std::ranges::find(config.eos_token_id, *id) == config.eos_token_id.end()) {
      config.eos_token_id.push_back(*id);
    }
    generate.eos_token_id = config.eos_token_id;
  }
}

Chat::~Chat() = default;
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;

Generation& Chat::reply() {
  impl_->settle();
  std::vector<std::int32_t> ids = impl_->fitting_prompt();
  if (ids.empty()) throw FormatError("the chat template renders nothing of these messages");
  // At least the last id is computed: its logits choose what comes.
  const std::size_t kept = std::min(common_prefix(impl_->held_ids, ids), ids.size() - 1);
  impl_->session.truncate(static_cast<std::int64_t>(kept));
  impl_->held_ids.resize(kept);
  impl_->prompt_ids = std::move(ids);
  impl_->running =
      impl_->model->generate(impl_->session, impl_->prompt_ids, impl_->options.generate);
  return *impl_->running;
}

Generation& Chat::say(std::string_view text) {
  impl_->settle();
  impl_->conversation.add("user", std::string(text));
  try {
    return reply();
  } catch (...) {
    impl_->conversation.forget_last_user();
    throw;
  }
}

void Chat::add_message(const ChatMessage& message) {
  impl_->settle();
  impl_->conversation.add(message.role, message.content);
}

void Chat::set_system(std::string_view text) {
  impl_->settle();
  impl_->conversation.set_system(std::string(text));
}

void Chat::clear() {
  impl_->settle();
  impl_->conversation.clear();
  impl_->left_out = 0;
}

std::string Chat::conversation_json() {
  impl_->settle();
  return impl_->conversation.json();
}

void Chat::set_conversation(std::string_view json) {
  impl_->settle();
  impl_->conversation.set(json);
  impl_->left_out = 0;
}

std::size_t Chat::messages() {
  impl_->settle();
  return impl_->conversation.size();
}
std::size_t Chat::left_out() const {
  return impl_->left_out;
}

bool Chat::ends_with_user() {
  impl_->settle();
  return impl_->conversation.ends_with_user();
}
const GenerateOptions& Chat::generate_options() const {
  return impl_->options.generate;
}

std::string Chat::prompt() {
  impl_->settle();
  return impl_->chat_template.render(impl_->conversation.variables(impl_->left_out));
}

std::int64_t Chat::position() const {
  return impl_->session.position();
}
std::int64_t Chat::capacity() const {
  return impl_->session.capacity();
}

void Chat::save_prompt_cache(const std::filesystem::path& path) {
  impl_->settle();
  impl_->model->save_session(path, impl_->session, impl_->held_ids);
}

std::int64_t Chat::load_prompt_cache(const std::filesystem::path& path) {
  impl_->settle();
  impl_->held_ids = impl_->model->load_session(path, impl_->session);
  return impl_->session.position();
}

}  // namespace shoehorn
