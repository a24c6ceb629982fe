// One HTTP exchange. Redirects, tokens and retries are other files' business.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "shoehorn/cancelled.h"
#include "shoehorn/error.h"

#include "hub/url.h"

namespace shoehorn::hub {

struct HttpRequest {
  Url url;
  bool head = false;
  std::string token = {};         // sent as it is, to whomever `url` names
  std::uint64_t range_begin = 0;  // asks for the bytes from here on
  /// Takes the body of an answer with status 200 or 206, after the headers are known; throws to
  /// end the exchange. Empty: the body is kept in the answer.
  std::function<void(std::span<const std::byte>)> on_body = {};
  /// Told status and headers before the first byte of a body.
  std::function<void(const struct HttpAnswer&)> on_headers = {};
  std::size_t max_body_bytes = 64U << 20;        // of what is kept
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

struct HttpAnswer {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  /// Seconds that Retry-After asks to wait; below 0: it does not.
  double retry_after_s = -1;

  /// The value of a header; empty where it is not there.
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// No answer, or one that broke off: the same may work later.
class ConnectionError : public Error {
 public:
  using Error::Error;
};
/// Throws ConnectionError, CancelledError, UnsupportedError where this build has no HTTP, Error
/// where trying again does not help (a certificate that is not trusted), and whatever on_body
/// throws. Thread-safe.
HttpAnswer http_exchange(const HttpRequest& request);

}  // namespace shoehorn::hub
