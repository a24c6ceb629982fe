// The graphics cards that this process may use, found without creating a context on any of them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace shoehorn::cuda {

struct Card {
  int ordinal = 0;  // the CUDA runtime's number, CUDA_VISIBLE_DEVICES applied
  std::string name;
  std::string pci_bus_id;
  int major = 0;  // compute capability
  int minor = 0;
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;
  std::size_t shared_bytes_per_block = 0;  // that a kernel may ask for
};

struct Cards {
  std::vector<Card> cards;
  std::string why_none;    // empty where there are cards: no driver, too old, no device, no support
  int driver_version = 0;  // 13000 for CUDA 13.0; 0: no driver
  int runtime_version = 0;  // what shoehorn was built with; 0: built without CUDA
};

/// Asks the driver once; later calls get the same answer. Never throws: a machine without a driver
/// has no cards. Cards below compute capability 8.0 are left out. Thread-safe.
const Cards& find_cards();

/// Memory of a card that nobody uses now. Creates no context where the driver's management library
/// can be asked; else it does. Throws DeviceError.
std::size_t free_bytes(int ordinal);

/// What CUDA takes of a card before shoehorn allocates anything: context, code of the kernels,
/// library handles. Measured when the first context of this process is made on the card, which
/// this call does if need be. Thread-safe. Throws DeviceError.
std::size_t context_bytes(int ordinal);

}  // namespace shoehorn::cuda
