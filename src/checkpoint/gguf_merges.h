// BPE merges of a SentencePiece vocabulary, which has scores instead.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "checkpoint/gguf_vocabulary.h"

namespace shoehorn::gguf {

/// Two neighbours and, by its place in the list, when they are joined.
struct Merge {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
};

/// SentencePiece joins the neighbours whose union has the highest score. So: every token, by
/// falling score (equal scores: by id), and for each of them every split into two tokens, by the
/// left one's id, as transformers' converters order them. Control, unknown and byte tokens are
/// never the result of a merge, and no token of more than 512 bytes is (SentencePiece's own limit
/// is 16 characters unless told otherwise); user-defined ones are, as in llama.cpp: a run of blanks
/// is such a token in Gemma's vocabulary. Throws FormatError where the merges would take more than
/// 64 times the text of the tokens, which no trained vocabulary does; `path` is for the message.
std::vector<Merge> merges_from_scores(const Vocabulary& vocabulary, const TokenIndex& index,
                                      const std::filesystem::path& path);

}  // namespace shoehorn::gguf
