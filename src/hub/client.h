// The hub over HTTP: asks with the user's token, follows redirects without handing it on, and tries
// again where that may help.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "hub/http.h"

namespace shoehorn::hub {

/// What the hub says of a file before it is fetched.
struct FileFacts {
  std::string etag;  // the name of its blob
  std::optional<std::uint64_t> size;
};

struct ClientOptions {
  std::string endpoint;  // "https://huggingface.co"
  std::string token;     // empty: none
  int attempts = 6;      // without progress in between
  double first_delay_s = 1;
  double longest_delay_s = 60;  // Retry-After may ask for more, up to five minutes
  const std::atomic<bool>* cancelled = nullptr;
  /// Told why something is tried again. May be empty; called from several threads.
  std::function<void(const std::string&)> on_note = {};
  /// One exchange; replaced in tests.
  std::function<HttpAnswer(const HttpRequest&)> exchange = http_exchange;
};

/// Thread-safe.
class Client {
 public:
  /// Throws ArgumentError for an endpoint that is no address, or a token that is none.
  Client(ClientOptions options, const std::string& repository, const std::string& revision);

  /// The JSON about the revision. Throws Error with what to do about 401, 403 and 404.
  std::string repository_json() const;
  /// Of `file` at `commit`, without fetching it.
  FileFacts facts(const std::string& commit, const std::string& file) const;
  /// Fetches `file` from byte `begin()` on, which is asked again for every try: `on_body` has taken
  /// what came until then. `on_restart` is called where the server begins at 0 in place of that.
  void fetch(const std::string& commit, const std::string& file,
             const std::function<std::uint64_t()>& begin, const std::function<void()>& on_restart,
             const std::function<void(std::span<const std::byte>)>& on_body) const;

 private:
  Url file_url(const std::string& commit, const std::string& file) const;
  HttpAnswer follow(HttpRequest request, bool stop_at_linked) const;
  template <typename Try>
  HttpAnswer with_retries(const std::string& what, const std::function<std::uint64_t()>& progress,
                          Try attempt) const;
  [[noreturn]] void refuse(const HttpAnswer& answer, const std::string& what) const;
  void wait(double seconds) const;

  ClientOptions options_;
  std::string repository_;
  std::string revision_;
  Url endpoint_;
};

}  // namespace shoehorn::hub
