// The CUDA cards of this machine as `doctor` shows them, or why there are none.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cuda/card.h"
#include "kernels/probe_cuda.h"

namespace shoehorn {

struct CardReport {
  cuda::Card card;
  std::optional<std::size_t> free_bytes;  // nothing where the card does not say
  std::optional<cuda::CardRates> rates;   // nothing where it fails, or has no room to measure in
};

/// Every card that shoehorn can use, measured now. Throws nothing.
std::vector<CardReport> survey_cards();

/// One JSON object, see docs/cli.md.
std::string cards_json(const std::vector<CardReport>& cards);
/// Lines for a person.
std::string cards_text(const std::vector<CardReport>& cards);

}  // namespace shoehorn
