// Holds generated tokens to a grammar: which tokens of a vocabulary may come next, by their bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "generate/grammar.h"
#include "generate/token_constraint.h"

namespace shoehorn {

/// A constraint at the start of `grammar`. `token_bytes[id]`: the bytes that the token adds to the
/// text; nothing for tokens that are no text, which may not come. An eos token may come where the
/// text is complete, and nothing but it where nothing can follow. The sequences cloned from one
/// constraint share what they learn of the grammar: use them from one thread at a time.
std::unique_ptr<TokenConstraint> make_grammar_constraint(
    Grammar grammar, const std::vector<std::optional<std::string>>& token_bytes,
    std::span<const std::int32_t> eos_token_id);

}  // namespace shoehorn
