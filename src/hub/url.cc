#include "hub/url.h"

#include <algorithm>
#include <cctype>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::hub {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

[[noreturn]] void fail(std::string_view text, std::string_view why) {
  throw FormatError(str_cat("address ", printable(text), ": ", why));
}

}  // namespace

std::string Url::text() const {
  const bool usual = port == (scheme == "https" ? "443" : "80");
  return scheme + "://" + host + (usual ? "" : ":" + port) + path;
}

Url parse_url(std::string_view text) {
  constexpr std::size_t kMaxBytes = 16384;
  if (text.size() > kMaxBytes) fail(text.substr(0, 64), "is too long");
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= 0x20 || c >= 0x7F; })) {
    fail(text, "holds characters that no address has");
  }
  Url url;
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) fail(text, "expected http:// or https://");
  url.scheme = text.substr(0, colon);
  std::ranges::transform(url.scheme, url.scheme.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (url.scheme != "http" && url.scheme != "https") fail(text, "expected http:// or https://");
  const std::string_view rest = text.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, end);
  url.path = rest.substr(end, rest.find('#') - end);
  if (!url.path.starts_with('/')) url.path.insert(0, "/");
  // "https://good.example@bad.example" asks bad.example.
  if (authority.find('@') != std::string_view::npos) fail(text, "names a user");
  if (authority.find('\\') != std::string_view::npos) fail(text, "holds a backslash");
  url.port = url.scheme == "https" ? "443" : "80";
  const std::size_t bracket = authority.rfind(']');
  const std::size_t port_at = authority.rfind(':');
  if (port_at != std::string_view::npos &&
      (bracket == std::string_view::npos || port_at > bracket)) {
    const std::string_view port = authority.substr(port_at + 1);
    if (port.empty() || port.size() > 5 || !std::ranges::all_of(port, is_digit)) {
      fail(text, "has a port that is no number");
    }
    url.port = port;
    authority = authority.substr(0, port_at);
  }
  if (authority.empty()) fail(text, "names no host");
  url.host = authority;
  std::ranges::transform(url.host, url.host.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return url;
}

Url resolve_location(const Url& base, std::string_view location) {
  if (location.starts_with("//")) return parse_url(base.scheme + ":" + std::string(location));
  const std::size_t scheme_end = location.find("://");
  const std::size_t path_begin = location.find_first_of("/?#");
  if (scheme_end != std::string_view::npos && scheme_end < path_begin) return parse_url(location);
  std::string path(location);
  if (!location.starts_with('/')) {
    const std::string_view old = std::string_view(base.path).substr(0, base.path.find('?'));
    path = std::string(old.substr(0, old.rfind('/') + 1)) + path;
  }
  return parse_url(base.origin() + path);
}

std::string percent_encoded(std::string_view text, bool keeps_slashes) {
  constexpr const char* kHex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) || c == '-' || c == '.' ||
                       c == '_' || c == '~' || (keeps_slashes && c == '/');
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

}  // namespace shoehorn::hub
