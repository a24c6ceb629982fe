// Any text as what a hub answers: refused with an Error, or names that stay inside the folder and
// addresses that are the same when they are read again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "shoehorn/error.h"

#include "hub/cache.h"
#include "hub/repository.h"
#include "hub/selection.h"
#include "hub/url.h"

namespace {

void check_name(const std::string& name) {
  const auto path = (std::filesystem::path("/folder") / name).lexically_normal();
  if (!path.string().starts_with("/folder/")) std::abort();
}

template <typename Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const shoehorn::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace hub = shoehorn::hub;
  const std::string text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    const hub::Repository repository = hub::parse_repository(text, "fuzz");
    for (const std::string& name : repository.files) check_name(name);
    check_name(repository.commit);
    hub::select_files("fuzz", repository.files, {});
  });
  attempt([&] {
    for (const std::string& name : hub::parse_shard_names(text, "fuzz")) check_name(name);
  });
  attempt([&] {
    const hub::Url url = hub::parse_url(text);
    if (hub::parse_url(url.text()).text() != url.text()) std::abort();
  });
  attempt([&] {
    const hub::Url base = hub::parse_url("https://hub.example/a/b");
    const hub::Url url = hub::resolve_location(base, text);
    if (hub::parse_url(url.text()).origin() != url.origin()) std::abort();
  });
  if (const std::string name = hub::blob_name(text); !name.empty()) check_name(name);
  return 0;
}
