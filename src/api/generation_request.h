// From what a caller asks of a generation to what the generate folder does.
#pragma once

#include <cstdint>
#include <memory>

#include "shoehorn/options.h"
#include "shoehorn/tokenizer.h"

#include "generate/generation_config.h"
#include "generate/token_constraint.h"

namespace shoehorn {

/// The model's own config with what `options` says. Throws ArgumentError.
GenerationConfig generation_request(const GenerationConfig& model, const GenerateOptions& options);

/// `config` with the tokens that fit behind a prompt: those that were asked for, but not beyond
/// what was planned, in max_new_tokens alone. Throws PlanError where the prompt alone does not fit,
/// ArgumentError where it leaves nothing of a max_length.
GenerationConfig within_context(GenerationConfig config, std::int64_t prompt_tokens,
                                std::int64_t max_context);

/// The grammar or JSON schema of `options`; null where there is none. Throws ArgumentError where
/// both are there or no tokenizer is, FormatError and UnsupportedError for what they say.
std::unique_ptr<TokenConstraint> output_constraint(const GenerateOptions& options,
                                                   const GenerationConfig& config,
                                                   const Tokenizer* tokenizer,
                                                   std::int64_t vocab_size);

}  // namespace shoehorn
