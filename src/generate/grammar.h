// A context-free grammar over bytes, compiled for matching: what a GBNF text (gbnf.h) means.
#pragma once

#include <cstdint>
#include <vector>

namespace shoehorn {

/// Immutable. Symbols of all alternatives lie one after the other, each alternative ended by kEnd.
struct Grammar {
  struct Symbol {
    enum class Kind : std::uint8_t { kEnd, kBytes, kRule } kind = Kind::kEnd;
    std::uint8_t low = 0;  // kBytes: [low, high]
    std::uint8_t high = 0;
    std::uint32_t rule = 0;  // kRule
  };

  std::vector<Symbol> symbols;
  std::vector<std::vector<std::uint32_t>> rules;  // where each alternative of a rule begins
  std::uint32_t root = 0;
};

}  // namespace shoehorn
