// The little of URLs (RFC 3986) that a download needs: who is asked, and where a redirect leads.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn::hub {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // in lower case
  std::string port;    // the scheme's own where none is written
  std::string path;    // from the first '/' on, with its query

  /// Scheme, host and port: what a token is for.
  std::string origin() const { return scheme + "://" + host + ":" + port; }
  std::string text() const;
};

/// Throws FormatError for anything but a plain http or https address: no user names, no spaces and
/// control characters.
Url parse_url(std::string_view text);

/// Where the Location of an answer from `base` leads. Throws FormatError as parse_url does.
Url resolve_location(const Url& base, std::string_view location);

/// Every byte but letters, digits and "-._~" (and '/' where `keeps_slashes`) as %XX.
std::string percent_encoded(std::string_view text, bool keeps_slashes);

}  // namespace shoehorn::hub
