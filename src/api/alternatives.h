// What to ask for instead, where a model cannot be placed.
#pragma once

#include <string>

#include "shoehorn/options.h"

namespace shoehorn {

/// Which changes of the options would fit: fewer sequences, 8 or 4 bits. ", or --load-in-8bit" and
/// the like, each tried; empty where none helps.
std::string what_would_fit(const std::string& model, const LoadOptions& options,
                           const std::string& assume, std::size_t others_bytes);

}  // namespace shoehorn
