// Where everything would go, without loading it.
#pragma once

#include <string>
#include <string_view>

#include "shoehorn/model.h"
#include "shoehorn/options.h"

namespace shoehorn {

struct PlanReport {
  HfDeviceMap device_map;
  std::string text;        // a table and a bar per device, drawn with block characters
  std::string text_ascii;  // the same without them
  std::string explain;     // a row for each group of weights in a pass
  std::string explain_ascii;
  std::string json;  // one object, see docs/cli.md
  std::string svg;   // a picture of where every module went
};

struct PlanOptions {
  /// Devices and rates to assume instead of this machine's:
  /// "0=80GiB@4.3TB/s,link=50GB/s,disk=2GB/s". Empty: this machine.
  std::string assume = {};
};

/// Plans as from_pretrained would. Throws what from_pretrained throws before it reads weights.
PlanReport plan(const std::string& model, const LoadOptions& options = {},
                const PlanOptions& plan_options = {});

/// Plans every case of a JSON text in the schema that docs/cli.md describes and returns a JSON
/// array. Throws FormatError.
std::string plan_cases(std::string_view cases_json);

}  // namespace shoehorn
