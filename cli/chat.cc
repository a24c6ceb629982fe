// run -i: a conversation at the terminal, or with a program that writes a message a line.

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>

#include <termios.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "chat_flags.h"
#include "line_editor.h"

namespace shoehorn::cli {
namespace {

constexpr const char* kHelp =
    "  /system TEXT   what the model is told first; without TEXT nothing\n"
    "  /clear         forgets the conversation, but for the system message\n"
    "  /save FILE     writes the conversation as JSON\n"
    "  /load FILE     goes on with such a file\n"
    "  /help          this\n"
    "  /exit          ends, as the end of input (Ctrl-D) does\n"
    "Anything else is a message; //... begins one with a slash. A \\ at the end of a line, or\n"
    "Alt-Enter, goes on in the next line. Ctrl-C stops a reply, or gives up the line.\n";

// What a signal handler may touch.
struct SignalState {
  std::atomic<Generation*> running{nullptr};
  std::atomic<bool> interrupted{false};
  std::atomic<bool> ends_when_idle{false};
};
SignalState signals;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void on_interrupt(int) {
  signals.interrupted.store(true);
  if (Generation* generation = signals.running.load()) {
    generation->cancel();
  } else if (signals.ends_when_idle.load()) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
}

/// Ctrl-C stops a reply while this lives, and what waits for input.
class InterruptStopsReplies {
 public:
  InterruptStopsReplies() {
    struct sigaction action {};
    action.sa_handler = on_interrupt;  // without SA_RESTART
    ::sigaction(SIGINT, &action, &before_);
  }
  ~InterruptStopsReplies() { ::sigaction(SIGINT, &before_, nullptr); }
  InterruptStopsReplies(const InterruptStopsReplies&) = delete;
  InterruptStopsReplies& operator=(const InterruptStopsReplies&) = delete;

 private:
  struct sigaction before_ {};
};

/// What is typed during a reply waits for the next line and is not shown in between.
class QuietTerminal {
 public:
  explicit QuietTerminal(bool interactive)
      : changed_(interactive && ::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!changed_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
  }
  ~QuietTerminal() {
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;

 private:
  termios before_{};
  bool changed_;
};

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

class Talk {
 public:
  Talk(Chat& chat, bool shifts_context, const std::function<void(const RunStats&)>& on_stats)
      : chat_(chat), shifts_context_(shifts_context), on_stats_(on_stats) {}

  void run() {
    // A program that writes to a pipe has no other key; a person has Ctrl-D.
    signals.ends_when_idle = !editor_.is_interactive();
    const InterruptStopsReplies guard;
    if (editor_.is_interactive()) {
      std::cout << "room for " << chat_.capacity()
                << " tokens; /help lists commands, Ctrl-D ends\n";
    }
    if (chat_.ends_with_user()) answer([this]() -> Generation& { return chat_.reply(); });
    std::string text;
    while (!ended_ && read(text)) {
      if (text.starts_with('/') && !text.starts_with("//")) {
        command(text);
      } else if (!text.empty()) {
        if (text.starts_with("//")) text.erase(0, 1);
        answer([&]() -> Generation& { return chat_.say(text); });
      }
    }
  }

 private:
  /// A message or command, of several lines where they end in a backslash; false at the end.
  bool read(std::string& text) {
    text.clear();
    std::string line;
    const char* prompt = "> ";
    while (true) {
      switch (editor_.read(prompt, line)) {
        case LineEditor::Result::kEnd:
          if (text.empty()) return false;
          return true;
        case LineEditor::Result::kInterrupted:
          if (editor_.is_interactive() && line.empty() && text.empty()) {
            std::cout << "(Ctrl-D or /exit ends)\n";
          }
          text.clear();
          signals.interrupted = false;
          prompt = "> ";
          continue;
        case LineEditor::Result::kLine: break;
      }
      text += line;
      if (!text.ends_with('\\')) break;
      text.back() = '\n';
      prompt = ". ";
    }
    text = trimmed(text);
    editor_.add_to_history(text);
    return true;
  }

  template <typename Begin>
  void answer(Begin begin) {
    signals.interrupted = false;
    try {
      const QuietTerminal quiet(editor_.is_interactive());
      Generation& generation = begin();
      signals.running = &generation;
      if (signals.interrupted) generation.cancel();
      for (std::string piece; generation.next(piece);) {
        std::cout << (editor_.is_interactive() ? shown_text(piece) : piece) << std::flush;
      }
      signals.running = nullptr;
      std::cout << '\n' << std::flush;
      report(generation);
    } catch (const Error& error) {
      signals.running = nullptr;
      std::cout << std::flush;
      std::cerr << "shoehorn: " << error.what() << '\n';
    }
  }

  void report(const Generation& generation) {
    if (chat_.left_out() > left_out_) {
      left_out_ = chat_.left_out();
      std::cerr << "note: the context was full: the oldest " << left_out_
                << " messages are no longer seen by the model\n";
    }
    const bool cancelled = generation.finish_reason() == FinishReason::kCancelled;
    if (cancelled && generation.ids().empty()) {
      std::cerr << "note: stopped before anything was said; the message is forgotten\n";
    } else if (cancelled) {
      std::cerr << "note: stopped\n";
    } else if (generation.finish_reason() == FinishReason::kLength &&
               chat_.position() >= chat_.capacity()) {
      std::cerr << "note: the context of " << chat_.capacity()
                << " tokens is full: /clear begins anew, --max-context makes room"
                << (shifts_context_ ? "\n" : ", --context-shift leaves out the oldest turns\n");
    } else if (generation.finish_reason() == FinishReason::kLength) {
      std::cerr << "note: cut after " << generation.ids().size()
                << " tokens; -n/--max-new-tokens allows more\n";
    }
    if (on_stats_) on_stats_(generation.stats());
  }

  void command(const std::string& text) {
    const std::size_t space = text.find_first_of(" \t\n");
    const std::string name = text.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : trimmed(text.substr(space));
    try {
      if (name == "/exit" || name == "/quit" || name == "/bye") {
        ended_ = true;
      } else if (name == "/help" || name == "/?") {
        std::cout << kHelp << std::flush;
      } else if (name == "/clear") {
        chat_.clear();
        left_out_ = 0;
      } else if (name == "/system") {
        chat_.set_system(rest);
      } else if (name == "/save") {
        save(rest);
      } else if (name == "/load") {
        if (rest.empty()) throw ArgumentError("/load FILE: name a file");
        chat_.set_conversation(read_small_file(rest));
        left_out_ = 0;
        std::cerr << "note: " << chat_.messages() << " messages\n";
        if (chat_.ends_with_user()) answer([this]() -> Generation& { return chat_.reply(); });
      } else {
        throw ArgumentError(name +
                            " is no command; /help lists them, and //... is a message that "
                            "begins with a slash");
      }
    } catch (const Error& error) {
      std::cerr << "shoehorn: " << error.what() << '\n';
    }
  }

  void save(const std::string& path) {
    if (path.empty()) throw ArgumentError("/save FILE: name a file");
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    if (!file) throw FileError(path, "cannot be written");
    file << chat_.conversation_json() << '\n';
    file.close();
    if (!file) throw FileError(path, "cannot be written: is the disk full?");
    std::cerr << "note: " << chat_.messages() << " messages in " << path << '\n';
  }

  Chat& chat_;
  bool shifts_context_;
  const std::function<void(const RunStats&)>& on_stats_;
  LineEditor editor_;
  std::size_t left_out_ = 0;
  bool ended_ = false;
};

}  // namespace

void chat_with(const ChatFlags& flags, Chat& chat, const std::vector<std::string>& messages,
               const std::function<void(const RunStats&)>& on_stats) {
  const bool cached =
      take_prompt_cache(flags.prompt_cache, [&] { chat.load_prompt_cache(flags.prompt_cache); });
  begin_conversation(flags, chat);
  for (const std::string& text : messages) chat.add_message({.role = "user", .content = text});
  Talk(chat, flags.context_shift, on_stats).run();
  if (cached && chat.position() > 0) chat.save_prompt_cache(flags.prompt_cache);
}

}  // namespace shoehorn::cli
