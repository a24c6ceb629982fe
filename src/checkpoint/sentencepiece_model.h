// SentencePiece's own file, tokenizer.model: a protobuf message with the pieces, their scores, and
// how text is normalized before it is cut (sentencepiece_model.proto of the SentencePiece project).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn::sentencepiece {

enum class PieceType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

enum class ModelType : std::uint8_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

struct Piece {
  std::string_view text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

/// The parts that encoding and decoding depend on. Borrows the bytes of the file.
struct Model {
  std::vector<Piece> pieces;  // by id

  ModelType type = ModelType::kUnigram;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::int32_t unk_id = 0;  // negative: there is none
  std::int32_t bos_id = 1;
  std::int32_t eos_id = 2;
  std::int32_t pad_id = -1;
  std::string_view unk_piece = "<unk>";
  std::string_view bos_piece = "<s>";
  std::string_view eos_piece = "</s>";

  std::string_view precompiled_charsmap;  // as tokenizer.json has it, but for the base64
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

constexpr std::size_t kMaxModelBytes = std::size_t{256} << 20;
constexpr std::size_t kMaxPieces = 4'000'000;
constexpr std::size_t kMaxPieceBytes = std::size_t{64} << 10;

/// Reads `bytes`; `path` is for messages. Throws FormatError for what is no such message (wrong
/// wire types, lengths beyond the end, groups), goes beyond the limits above, has no pieces, pieces
/// that are not UTF-8 or empty, scores that are not finite, or an unk_id that is no piece.
Model parse_model(std::string_view bytes, const std::filesystem::path& path);

}  // namespace shoehorn::sentencepiece
