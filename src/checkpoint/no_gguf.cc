// Stands in for the GGUF reader in a tree without gguf.cc.

#include "shoehorn/error.h"

#include "checkpoint/gguf.h"

namespace shoehorn {

Checkpoint::Parts open_gguf(const std::filesystem::path& path) {
  throw UnsupportedError(path.string() + ": GGUF files cannot be read yet");
}

}  // namespace shoehorn
