#include "shoehorn/inspect.h"

namespace shoehorn {

InspectReport inspect(const std::string&, const LoadOptions&) { return {}; }

}  // namespace shoehorn
