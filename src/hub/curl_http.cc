// HTTP by libcurl.

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>

#include <curl/curl.h>

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "hub/http.h"

namespace shoehorn::hub {
namespace {

constexpr long kConnectTimeout_s = 30;
// A connection that brings less than this for so long is given up and made anew.
constexpr long kLowSpeed_bytes_s = 1024;
constexpr long kLowSpeed_s = 60;
constexpr std::size_t kMaxHeaders = 256;

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using List = std::unique_ptr<curl_slist, ListDeleter>;

void init_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw Error("libcurl does not start");
  });
}

/// A handle of this thread, whose connections stay open between exchanges.
CURL* handle_of_thread() {
  thread_local Easy handle;
  if (handle == nullptr) handle.reset(curl_easy_init());
  if (handle == nullptr) throw Error("libcurl has no memory");
  curl_easy_reset(handle.get());
  return handle.get();
}

struct Exchange {
  const HttpRequest& request;
  HttpAnswer answer = {};
  bool began_body = false;
  std::exception_ptr failure = nullptr;  // must not pass through libcurl

  bool is_wanted() const { return answer.status == 200 || answer.status == 206; }
};

std::string trimmed_lower(std::string_view text, bool lower) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  std::string result(text);
  if (lower) {
    std::ranges::transform(result, result.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  return result;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    // A new answer: what came before it was an informational one, or a proxy's.
    exchange.answer.headers.clear();
    const std::size_t space = line.find(' ');
    exchange.answer.status =
        space == std::string_view::npos ? 0 : std::strtol(line.data() + space, nullptr, 10);
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    if (exchange.answer.headers.size() < kMaxHeaders) {
      exchange.answer.headers[trimmed_lower(line.substr(0, colon), true)] =
          trimmed_lower(line.substr(colon + 1), false);
    }
  }
  return size * count;
}

std::size_t on_data(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::size_t bytes = size * count;
  try {
    const HttpRequest& request = exchange.request;
    if (!exchange.began_body && request.on_headers) request.on_headers(exchange.answer);
    exchange.began_body = true;
    if (request.on_body && exchange.is_wanted()) {
      request.on_body(std::as_bytes(std::span(data, bytes)));
    } else if (exchange.answer.body.size() + bytes <= request.max_body_bytes) {
      exchange.answer.body.append(data, bytes);
    } else if (exchange.is_wanted()) {
      throw FormatError(str_cat(request.url.text(), ": the answer is larger than ",
                                request.max_body_bytes, " bytes"));
    }
    return bytes;
  } catch (...) {
    exchange.failure = std::current_exception();
    return bytes + 1;  // ends the transfer
  }
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& exchange = *static_cast<const Exchange*>(user);
  const std::atomic<bool>* cancelled = exchange.request.cancelled;
  return cancelled != nullptr && cancelled->load(std::memory_order_relaxed) ? 1 : 0;
}

double retry_after_s(const std::string& value) {
  if (value.empty()) return -1;
  if (std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
    return value.size() > 6 ? 1e6 : std::stod(value);
  }
  const std::time_t at = curl_getdate(value.c_str(), nullptr);
  return at < 0 ? -1 : std::max(0.0, std::difftime(at, std::time(nullptr)));
}

/// What no second try changes.
bool is_final(CURLcode code) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_OUT_OF_MEMORY: return true;
    default: return false;
  }
}

struct Certificates {
  std::string variable;  // that names them
  std::string path;      // empty: none
};

/// Certificates to trust in place of the system's: the variables that the curl program and Python's
/// clients know, and libcurl by itself does not. The first that is set counts.
Certificates environment_certificates() {
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* path = std::getenv(name);
    if (path != nullptr && *path != '\0') return {name, path};
  }
  return {};
}

void set_certificates(CURL* curl) {
  const std::string path = environment_certificates().path;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    curl_easy_setopt(curl, CURLOPT_CAPATH, path.c_str());
  } else if (!path.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, path.c_str());
  }
  const char* folder = std::getenv("SSL_CERT_DIR");
  if (folder != nullptr && *folder != '\0') curl_easy_setopt(curl, CURLOPT_CAPATH, folder);
}

/// What to do about a failure that no second try changes.
std::string advice(CURLcode code) {
  const auto [variable, path] = environment_certificates();
  if (code == CURLE_SSL_CACERT_BADFILE && !path.empty()) {
    return str_cat(": ", variable, " is ", printable(path), ", which is no file of certificates");
  }
  if (code != CURLE_PEER_FAILED_VERIFICATION) return "";
  if (!path.empty()) {
    return str_cat("; trusted are the certificates of ", printable(path), ", which ", variable,
                   " names: one of who signed this server's has to be there");
  }
  return "; where a company's own authority signs, SSL_CERT_FILE names the file with its "
         "certificate";
}

void set_options(CURL* curl, Exchange& exchange, const std::string& url, const std::string& range,
                 curl_slist* headers) {
  const HttpRequest& request = exchange.request;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "shoehorn");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeout_s);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kLowSpeed_bytes_s);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kLowSpeed_s);
  set_certificates(curl);
  if (request.head) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (!range.empty()) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
}

}  // namespace

HttpAnswer http_exchange(const HttpRequest& request) {
  init_once();
  CURL* curl = handle_of_thread();
  Exchange exchange{.request = request};
  const std::string url = request.url.text();
  const std::string range = request.range_begin > 0 ? str_cat(request.range_begin, "-") : "";
  // Sizes are those of the file, not of something packed for the way.
  List headers(curl_slist_append(nullptr, "Accept-Encoding: identity"));
  if (!request.token.empty()) {
    const std::string line = "Authorization: Bearer " + request.token;
    headers.reset(curl_slist_append(headers.release(), line.c_str()));
  }
  set_options(curl, exchange, url, range, headers.get());
  const CURLcode code = curl_easy_perform(curl);
  if (exchange.failure != nullptr) std::rethrow_exception(exchange.failure);
  if (code == CURLE_ABORTED_BY_CALLBACK) throw CancelledError("the download was cancelled");
  if (code != CURLE_OK) {
    const std::string what =
        str_cat(request.url.scheme, "://", request.url.host, ": ", curl_easy_strerror(code));
    if (is_final(code)) throw Error(what + advice(code));
    throw ConnectionError(what);
  }
  if (!exchange.began_body && request.on_headers) request.on_headers(exchange.answer);
  exchange.answer.retry_after_s = retry_after_s(exchange.answer.header("retry-after"));
  return std::move(exchange.answer);
}

}  // namespace shoehorn::hub
