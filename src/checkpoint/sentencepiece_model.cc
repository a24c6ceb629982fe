// A reader of the protobuf wire format that knows three messages. Fields it does not know are
// skipped, as the format asks; of a field that comes twice the last one counts.
#include "checkpoint/sentencepiece_model.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "text/utf8.h"

namespace shoehorn::sentencepiece {
namespace {

enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::kVarint;
  std::uint64_t integer = 0;  // of kVarint, kFixed32 and kFixed64
  std::string_view bytes;     // of kBytes
};

/// The fields of one message, in order. `where` names the message in errors.
class Message {
 public:
  Message(std::string_view bytes, std::string_view where, const std::filesystem::path& path)
      : bytes_(bytes), where_(where), path_(path) {}

  /// The next field, false at the end.
  bool next(Field& field) {
    if (bytes_.empty()) return false;
    const std::uint64_t key = read_varint();
    const auto wire = static_cast<std::uint8_t>(key & 7);
    if (key >> 3 == 0 || key >> 3 > kMaxFieldNumber) fail("a field without a valid number");
    field = Field();
    field.number = static_cast<std::uint32_t>(key >> 3);
    field.wire = static_cast<Wire>(wire);
    switch (wire) {
      case 0: field.integer = read_varint(); break;
      case 1: field.integer = read_fixed(8); break;
      case 2: field.bytes = take(read_varint()); break;
      case 5: field.integer = read_fixed(4); break;
      default: fail(str_cat("field ", field.number, " has wire type ", int{wire}));
    }
    return true;
  }

  std::string_view bytes_of(const Field& field) const {
    require(field, Wire::kBytes, "a length and bytes");
    return field.bytes;
  }
  float float_of(const Field& field) const {
    require(field, Wire::kFixed32, "a float");
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(field.integer));
    if (!std::isfinite(value)) fail(str_cat("field ", field.number, " is not a finite number"));
    return value;
  }
  bool bool_of(const Field& field) const {
    require(field, Wire::kVarint, "an integer");
    return field.integer != 0;
  }
  /// Negative numbers come as 64 bits of two's complement.
  std::int32_t int_of(const Field& field) const {
    require(field, Wire::kVarint, "an integer");
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(field.integer));
  }
  [[noreturn]] void fail(std::string_view what) const {
    throw FormatError(path_, str_cat("no SentencePiece model: ", where_, ": ", what));
  }

 private:
  static constexpr std::uint64_t kMaxFieldNumber = (1U << 29) - 1;

  void require(const Field& field, Wire wire, std::string_view expected) const {
    if (field.wire == wire) return;
    fail(str_cat("field ", field.number, ": expected ", expected, ", found wire type ",
                 static_cast<int>(field.wire)));
  }
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size()) {
      fail(str_cat("a field of ", count, " bytes, of which ", bytes_.size(), " are there"));
    }
    const std::string_view taken = bytes_.substr(0, static_cast<std::size_t>(count));
    bytes_.remove_prefix(taken.size());
    return taken;
  }
  std::uint64_t read_fixed(std::size_t count) {
    const std::string_view taken = take(count);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(taken[i])) << 8 * i;
    }
    return value;
  }
  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than ten bytes");
  }

  std::string_view bytes_;
  std::string_view where_;
  const std::filesystem::path& path_;
};

Piece read_piece(std::string_view bytes, std::size_t id, const std::filesystem::path& path) {
  const std::string where = str_cat("piece ", id);
  Message message(bytes, where, path);
  Piece piece;
  for (Field field; message.next(field);) {
    if (field.number == 1) {
      piece.text = message.bytes_of(field);
    } else if (field.number == 2) {
      piece.score = message.float_of(field);
    } else if (field.number == 3) {
      const std::int32_t type = message.int_of(field);
      if (type < 1 || type > 6) message.fail(str_cat("type ", type, " is not known"));
      piece.type = static_cast<PieceType>(type);
    }
  }
  if (piece.text.empty()) message.fail("empty");
  if (piece.text.size() > kMaxPieceBytes) {
    message.fail(str_cat(piece.text.size(), " bytes; at most ", kMaxPieceBytes, " are supported"));
  }
  if (!text::is_valid_utf8(piece.text))
    message.fail(str_cat(printable(piece.text), " is not UTF-8"));
  return piece;
}

std::string_view read_name(const Message& message, const Field& field) {
  const std::string_view name = message.bytes_of(field);
  if (name.size() > kMaxPieceBytes || !text::is_valid_utf8(name)) {
    message.fail(str_cat("field ", field.number, " is not the text of a piece"));
  }
  return name;
}

void read_trainer_spec(std::string_view bytes, const std::filesystem::path& path, Model& model) {
  Message message(bytes, "trainer_spec", path);
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 3: {
        const std::int32_t type = message.int_of(field);
        if (type < 1 || type > 4) message.fail(str_cat("model_type ", type, " is not known"));
        model.type = static_cast<ModelType>(type);
        break;
      }
      case 24: model.treat_whitespace_as_suffix = message.bool_of(field); break;
      case 35: model.byte_fallback = message.bool_of(field); break;
      case 40: model.unk_id = message.int_of(field); break;
      case 41: model.bos_id = message.int_of(field); break;
      case 42: model.eos_id = message.int_of(field); break;
      case 43: model.pad_id = message.int_of(field); break;
      case 45: model.unk_piece = read_name(message, field); break;
      case 46: model.bos_piece = read_name(message, field); break;
      case 47: model.eos_piece = read_name(message, field); break;
      default: break;
    }
  }
}

void read_normalizer_spec(std::string_view bytes, const std::filesystem::path& path, Model& model) {
  Message message(bytes, "normalizer_spec", path);
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 2: model.precompiled_charsmap = message.bytes_of(field); break;
      case 3: model.add_dummy_prefix = message.bool_of(field); break;
      case 4: model.remove_extra_whitespaces = message.bool_of(field); break;
      case 5: model.escape_whitespaces = message.bool_of(field); break;
      default: break;
    }
  }
}

}  // namespace

Model parse_model(std::string_view bytes, const std::filesystem::path& path) {
  Model model;
  Message message(bytes, "the file", path);
  if (bytes.size() > kMaxModelBytes) message.fail("more than 256 MiB");
  for (Field field; message.next(field);) {
    if (field.number == 1) {
      if (model.pieces.size() == kMaxPieces) message.fail("more than four million pieces");
      model.pieces.push_back(read_piece(message.bytes_of(field), model.pieces.size(), path));
    } else if (field.number == 2) {
      read_trainer_spec(message.bytes_of(field), path, model);
    } else if (field.number == 3) {
      read_normalizer_spec(message.bytes_of(field), path, model);
    }
  }
  if (model.pieces.empty()) message.fail("no pieces");
  if (model.unk_id >= static_cast<std::int64_t>(model.pieces.size())) {
    message.fail(str_cat("unk_id is ", model.unk_id, " of ", model.pieces.size(), " pieces"));
  }
  return model;
}

}  // namespace shoehorn::sentencepiece
