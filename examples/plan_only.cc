// Shows where a model would go if only so much memory were allowed; no weights are read.
//
//   plan_only MODEL [MAX_MEMORY [OUT.svg]]
#include <fstream>
#include <iostream>

#include <shoehorn/shoehorn.h>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: plan_only MODEL [MAX_MEMORY [OUT.svg]]\n";
    return 2;
  }
  try {
    shoehorn::LoadOptions options;
    if (argc > 2) options.max_memory = {{"cpu", argv[2]}};
    const auto report = shoehorn::plan(argv[1], options);
    std::cout << report.text;
    for (const auto& [module, device] : report.device_map.entries) {
      std::cout << device << '\t' << module << '\n';
    }
    if (argc > 3) std::ofstream(argv[3]) << report.svg;
  } catch (const shoehorn::PlanError& error) {
    std::cerr << "plan_only: " << error.what() << "\nneeded " << error.needed_bytes()
              << " bytes, there are " << error.available_bytes() << '\n';
    return 1;
  } catch (const shoehorn::Error& error) {
    std::cerr << "plan_only: " << error.what() << '\n';
    return 1;
  }
}
