// In place of curl_http.cc, where libcurl was not there when this was built.

#include "hub/http.h"

namespace shoehorn::hub {

HttpAnswer http_exchange(const HttpRequest& /*request*/) {
  throw UnsupportedError(
      "this build has no libcurl and cannot download: install libcurl4-openssl-dev and build "
      "again, "
      "or fetch the model with another program into the hub's cache");
}

}  // namespace shoehorn::hub
