// How fast a card is: the rates that plans and benchmarks measure against.
#pragma once

namespace shoehorn::cuda {

struct CardRates {
  double memory_bytes_per_s = 0;    // a large copy within the card, bytes read and written
  double link_bytes_per_s = 0;      // page-locked host memory to the card
  double link_out_bytes_per_s = 0;  // and back
  double bf16_flops = 0;            // a large product; 0 where cuBLASLt is missing
};

/// Takes about a quarter of a second and, while it runs, 0.6 GiB of the card, less where less is
/// free; later calls get the same answer. Thread-safe. Throws DeviceError.
CardRates measure_card_rates(int ordinal);

}  // namespace shoehorn::cuda
