#include "api/card_report.h"

#include <iomanip>
#include <sstream>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

/// "13.0" of 13000; empty for 0.
std::string cuda_version(int version) {
  return version == 0 ? std::string() : str_cat(version / 1000, ".", version % 1000 / 10);
}

nlohmann::ordered_json version_json(int version) {
  if (version == 0) return nullptr;
  return cuda_version(version);
}

nlohmann::ordered_json rates_json(const std::optional<cuda::CardRates>& rates) {
  if (!rates) return nullptr;
  return {{"copy_gb_s", rates->memory_bytes_per_s / 1e9},
          {"link_gb_s", rates->link_bytes_per_s / 1e9},
          {"link_back_gb_s", rates->link_out_bytes_per_s / 1e9},
          {"matrix_tflop_s", rates->bf16_flops / 1e12}};
}

double gib(std::size_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(1ULL << 30);
}

}  // namespace

std::vector<CardReport> survey_cards() {
  std::vector<CardReport> reports;
  for (const cuda::Card& card : cuda::find_cards().cards) {
    CardReport& report = reports.emplace_back();
    report.card = card;
    try {
      report.free_bytes = cuda::free_bytes(card.ordinal);
      report.rates = cuda::measure_card_rates(card.ordinal);
    } catch (const DeviceError&) {
      // The report shows what is not known.
    }
  }
  return reports;
}

std::string cards_json(const std::vector<CardReport>& cards) {
  const cuda::Cards& found = cuda::find_cards();
  nlohmann::ordered_json json = {{"driver", version_json(found.driver_version)},
                                 {"runtime", version_json(found.runtime_version)},
                                 {"obstacle", found.why_none},
                                 {"cards", nlohmann::ordered_json::array()}};
  for (const auto& [card, free_bytes, rates] : cards) {
    json["cards"].push_back(
        {{"device", str_cat("cuda:", card.ordinal)},
         {"name", card.name},
         {"pci_bus_id", card.pci_bus_id},
         {"compute_capability", str_cat(card.major, ".", card.minor)},
         {"multiprocessors", card.multiprocessors},
         {"memory_bytes", card.memory_bytes},
         {"free_bytes", free_bytes ? nlohmann::ordered_json(*free_bytes) : nullptr},
         {"l2_bytes", card.l2_bytes},
         {"rates", rates_json(rates)}});
  }
  return json.dump();
}

std::string cards_text(const std::vector<CardReport>& cards) {
  const cuda::Cards& found = cuda::find_cards();
  std::ostringstream out;
  out << std::fixed << std::setprecision(1);
  for (const auto& [card, free_bytes, rates] : cards) {
    out << "card        cuda:" << card.ordinal << ", " << card.name << ", compute capability "
        << card.major << '.' << card.minor << ", ";
    if (free_bytes) out << gib(*free_bytes) << " GiB free of ";
    out << gib(card.memory_bytes) << " GiB\n";
    if (!rates) continue;
    out << "            memory " << rates->memory_bytes_per_s / 1e9 << " GB/s, link "
        << rates->link_bytes_per_s / 1e9 << " GB/s there and " << rates->link_out_bytes_per_s / 1e9
        << " back, bfloat16 products " << rates->bf16_flops / 1e12 << " TFLOP/s\n";
  }
  if (cards.empty()) out << "cards       none: " << found.why_none << '\n';
  if (found.runtime_version == 0) return out.str();
  const std::string driver = cuda_version(found.driver_version);
  out << "cuda        " << (driver.empty() ? "no driver" : "driver for " + driver)
      << ", built with " << cuda_version(found.runtime_version) << '\n';
  return out.str();
}

}  // namespace shoehorn
