#include "hub/client.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "hub/cache.h"

namespace shoehorn::hub {
namespace {

constexpr int kMaxRedirects = 8;
constexpr double kLongestRetryAfter_s = 300;

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool may_pass(long status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504;
}

std::optional<std::uint64_t> number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The first byte of "bytes 100-199/200".
std::optional<std::uint64_t> range_begin(const std::string& content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  return number(content_range.substr(6, content_range.find('-', 6) - 6));
}

}  // namespace

Client::Client(ClientOptions options, const std::string& repository, const std::string& revision)
    : options_(std::move(options)), repository_(repository), revision_(revision) {
  try {
    endpoint_ = parse_url(options_.endpoint);
  } catch (const FormatError& error) {
    throw ArgumentError(str_cat("HF_ENDPOINT: ", error.what()));
  }
  while (endpoint_.path.ends_with('/')) endpoint_.path.pop_back();
  // Whatever else it is, it must not become a header of its own.
  if (std::ranges::any_of(options_.token, [](unsigned char c) { return c <= 0x20 || c >= 0x7F; })) {
    throw ArgumentError("HF_TOKEN holds characters that no token has");
  }
}

Url Client::file_url(const std::string& commit, const std::string& file) const {
  Url url = endpoint_;
  url.path += str_cat("/", percent_encoded(repository_, true), "/resolve/",
                      percent_encoded(commit, false), "/", percent_encoded(file, true));
  return url;
}

void Client::wait(double seconds) const {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < until) {
    if (options_.cancelled != nullptr && options_.cancelled->load())
      throw CancelledError("the download was cancelled");
    const auto left = std::chrono::duration<double>(until - Clock::now());
    std::this_thread::sleep_for(std::min(left, std::chrono::duration<double>(0.1)));
  }
}

// The token is for the endpoint alone: a redirect to anybody else goes without, and never from
// https to http. `stop_at_linked`: the answer that names the file is wanted, wherever it leads.
HttpAnswer Client::follow(HttpRequest request, bool stop_at_linked) const {
  request.cancelled = options_.cancelled;
  for (int redirects = 0;; ++redirects) {
    const bool own = request.url.origin() == endpoint_.origin();
    request.token = own ? options_.token : "";
    HttpAnswer answer = options_.exchange(request);
    if (!is_redirect(answer.status)) return answer;
    if (stop_at_linked && !answer.header("x-linked-etag").empty()) return answer;
    const std::string location = answer.header("location");
    if (location.empty()) throw FormatError(str_cat(request.url.text(), ": redirects to nowhere"));
    if (redirects == kMaxRedirects) {
      throw FormatError(str_cat(request.url.text(), ": more than ", kMaxRedirects, " redirects"));
    }
    Url next = resolve_location(request.url, location);
    if (request.url.scheme == "https" && next.scheme == "http") {
      throw FormatError(str_cat(request.url.text(), ": refused: redirects from https to http"));
    }
    // The answer of the endpoint is the one that names the file's hash.
    if (stop_at_linked && next.origin() != endpoint_.origin()) return answer;
    request.url = std::move(next);
  }
}

template <typename Try>
HttpAnswer Client::with_retries(const std::string& what,
                                const std::function<std::uint64_t()>& progress, Try attempt) const {
  double delay_s = options_.first_delay_s;
  std::uint64_t before = progress();
  for (int failures = 0;;) {
    std::string why;
    double asked_s = -1;
    bool may_come_later = false;
    try {
      HttpAnswer answer = attempt();
      if (!may_pass(answer.status)) return answer;
      why = str_cat("the server answers ", answer.status,
                    answer.status == 429 ? ": too many requests" : "");
      may_come_later = answer.status == 429;
      asked_s = std::min(answer.retry_after_s, kLongestRetryAfter_s);
    } catch (const ConnectionError& error) {
      why = error.what();
    }
    const std::uint64_t now = progress();
    if (now > before) {
      before = now;
      failures = 0;
      delay_s = options_.first_delay_s;
    }
    if (++failures >= options_.attempts) {
      throw Error(str_cat(what, ": given up after ", failures, " attempts: ", why,
                          "; the same command goes on where this one stopped",
                          !may_come_later ? ""
                          : options_.token.empty()
                              ? ". Later, or with HF_TOKEN set, more are allowed"
                              : ". Later more are allowed"));
    }
    const double wait_s = std::max(asked_s, delay_s);
    if (options_.on_note) {
      options_.on_note(str_cat(what, ": ", why, "; trying again in ", wait_s, " s"));
    }
    wait(wait_s);
    delay_s = std::min(delay_s * 2, options_.longest_delay_s);
  }
}

void Client::refuse(const HttpAnswer& answer, const std::string& what) const {
  const std::string page = endpoint_.text() + "/" + repository_;
  const std::string said = answer.header("x-error-message").empty()
                               ? ""
                               : " (" + printable(answer.header("x-error-message")) + ")";
  switch (answer.status) {
    case 401:
      if (options_.token.empty()) {
        throw Error(str_cat(what, ": the hub answers 401", said,
                            ": there is no such model, or it is not public. For one that is not, "
                            "HF_TOKEN has to hold a token that may read it (",
                            endpoint_.text(), "/settings/tokens)"));
      }
      throw Error(str_cat(what, ": the hub answers 401", said,
                          ": it does not accept the token (HF_TOKEN, or the file that `hf auth "
                          "login` wrote), or there is no such model"));
    case 403:
      throw Error(str_cat(what, ": the hub answers 403", said,
                          ": the model has terms to accept, with the account of HF_TOKEN, at ",
                          page));
    case 404: {
      const std::string code = answer.header("x-error-code");
      if (code == "RevisionNotFound") {
        throw Error(str_cat(what, ": there is no revision ", revision_, " of ", repository_,
                            "; branches and tags are listed at ", page, "/tree/main"));
      }
      if (code == "EntryNotFound") throw Error(str_cat(what, ": there is no such file"));
      throw Error(
          str_cat(what, ": the hub answers 404", said, ": is ", page, " spelt right",
                  options_.token.empty() ? ", or is it private and HF_TOKEN not set?" : "?"));
    }
    default: throw Error(str_cat(what, ": the server answers ", answer.status, said));
  }
}

std::string Client::repository_json() const {
  HttpRequest request;
  request.url = endpoint_;
  request.url.path += str_cat("/api/models/", percent_encoded(repository_, true), "/revision/",
                              percent_encoded(revision_, false));
  HttpAnswer answer = with_retries(
      repository_, [] { return std::uint64_t{0}; }, [&] { return follow(request, false); });
  if (answer.status != 200) refuse(answer, repository_);
  return std::move(answer.body);
}

FileFacts Client::facts(const std::string& commit, const std::string& file) const {
  HttpRequest request;
  request.url = file_url(commit, file);
  request.head = true;
  const std::string what = repository_ + "/" + printable(file);
  const HttpAnswer answer = with_retries(
      what, [] { return std::uint64_t{0}; }, [&] { return follow(request, true); });
  if (answer.status != 200 && !is_redirect(answer.status)) refuse(answer, what);
  const std::string linked = answer.header("x-linked-etag");
  FileFacts facts;
  facts.etag = blob_name(linked.empty() ? answer.header("etag") : linked);
  if (facts.etag.empty()) {
    throw FormatError(str_cat(what, ": the server names no ETag that a file could be called by"));
  }
  facts.size = number(answer.header("x-linked-size"));
  // A redirect's own length is that of its empty page.
  if (!facts.size && answer.status == 200) facts.size = number(answer.header("content-length"));
  return facts;
}

void Client::fetch(const std::string& commit, const std::string& file,
                   const std::function<std::uint64_t()>& begin,
                   const std::function<void()>& on_restart,
                   const std::function<void(std::span<const std::byte>)>& on_body) const {
  const std::string what = repository_ + "/" + printable(file);
  const HttpAnswer answer = with_retries(what, begin, [&] {
    HttpRequest request;
    request.url = file_url(commit, file);
    request.range_begin = begin();
    request.on_headers = [&](const HttpAnswer& head) {
      if (head.status == 200 && begin() > 0) on_restart();
      if (head.status == 206 && range_begin(head.header("content-range")) != begin()) {
        throw FormatError(str_cat(what, ": the server sends other bytes than were asked for"));
      }
    };
    request.on_body = on_body;
    HttpAnswer got = follow(request, false);
    if (got.status == 416 && begin() > 0) {
      // What lies here is longer than the file: it is another one's.
      on_restart();
      request.range_begin = 0;
      got = follow(request, false);
    }
    return got;
  });
  if (answer.status != 200 && answer.status != 206) refuse(answer, what);
}

}  // namespace shoehorn::hub
