#include "model/kv_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <string>

#include "shoehorn/error.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/str_cat.h"
#include "base/written_file.h"
#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "shoehorn KV 1\n";
constexpr std::size_t kMaxKeyBytes = 1U << 20;
constexpr std::size_t kDigestBytes = 64;

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// One half of a layer: rows of `row_bytes`, `capacity` of them for every head.
struct Half {
  std::byte* data = nullptr;
  std::int64_t heads = 0;
  std::int64_t capacity = 0;
  std::size_t row_bytes = 0;

  std::byte* head(std::int64_t index) const {
    return data + static_cast<std::size_t>(index * capacity) * row_bytes;
  }
  std::size_t bytes_of(std::int64_t rows) const {
    return static_cast<std::size_t>(rows) * row_bytes;
  }
};

/// Keys, values.
std::array<Half, 2> halves_of(const KvCacheView& view) {
  return {Half{view.keys, view.kv_heads, view.capacity, kv_row_bytes(view.dtype, view.head_dim)},
          Half{view.values, view.kv_heads, view.capacity,
               kv_row_bytes(view.dtype, view.value_width())}};
}

class Writer {
 public:
  explicit Writer(const std::filesystem::path& path) : file_(path) {}
  void put(std::span<const std::byte> bytes) {
    hash_.update(bytes);
    file_.write(bytes);
  }
  void finish() {
    const std::string digest = hash_.hex_digest();
    file_.write(std::as_bytes(std::span(digest)));
    file_.commit();
  }

 private:
  WrittenFile file_;
  Sha256 hash_;
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : file_(path) {}

  void get(std::span<std::byte> out) {
    if (out.size() > left()) fail("ends early");
    file_.read_at(at_, out);
    hash_.update(out);
    at_ += out.size();
  }
  void skip(std::size_t bytes) {
    std::vector<std::byte> buffer(std::min<std::size_t>(bytes, 1U << 20));
    for (std::size_t taken = 0; bytes > 0; bytes -= taken) {
      taken = std::min(bytes, buffer.size());
      get(std::span(buffer).first(taken));
    }
  }
  template <typename T>
  T get() {
    T value{};
    get(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::uint64_t left() const { return file_.size() - at_; }
  void check_digest() {
    const std::string expected = hash_.hex_digest();
    if (left() != kDigestBytes) fail("has another length than it says");
    std::string found(kDigestBytes, '\0');
    file_.read_at(at_, std::as_writable_bytes(std::span(found)));
    if (found != expected) fail("is damaged: its hash differs");
  }
  [[noreturn]] void fail(std::string_view what) const {
    throw FormatError(file_.path(),
                      str_cat(what, "; remove the file, or name another for the prompt cache"));
  }

 private:
  File file_;
  std::uint64_t at_ = 0;
  Sha256 hash_;
};

void check_key(Reader& reader, std::string_view key, const std::filesystem::path& path) {
  std::string magic(kMagic.size(), '\0');
  if (reader.left() < magic.size()) reader.fail("is no prompt cache");
  reader.get(std::as_writable_bytes(std::span(magic)));
  if (magic != kMagic) reader.fail("is no prompt cache");
  const auto bytes = reader.get<std::uint64_t>();
  if (bytes > kMaxKeyBytes) reader.fail("is no prompt cache that can be read");
  std::string found(bytes, '\0');
  reader.get(std::as_writable_bytes(std::span(found)));
  if (found != key) {
    throw UnsupportedError(str_cat(path.string(),
                                   ": was written for another model, with other options for its "
                                   "weights, its KV cache or its instruction set, or with other "
                                   "layers on CUDA devices"));
  }
}

std::vector<std::int32_t> read_ids(Reader& reader, std::int64_t vocab_size) {
  const auto count = reader.get<std::uint64_t>();
  if (count > reader.left() / sizeof(std::int32_t))
    reader.fail("is no prompt cache that can be read");
  std::vector<std::int32_t> ids(count);
  reader.get(std::as_writable_bytes(std::span(ids)));
  const auto known = [vocab_size](std::int32_t id) { return id >= 0 && id < vocab_size; };
  if (!std::ranges::all_of(ids, known)) reader.fail("names ids that the model does not have");
  return ids;
}

void read_all(Reader& reader, std::int64_t stored, KvCache& kv, Runtime& runtime) {
  const std::int64_t taken = std::min(stored, kv.capacity());
  const auto layers = static_cast<std::int64_t>(kv.layers());
  std::uint64_t expected = kDigestBytes;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (const Half& half : halves_of(kv.layer(layer))) {
      // Neither can overflow: the ids of as many positions lie in the same file.
      expected += static_cast<std::uint64_t>(half.heads) * static_cast<std::uint64_t>(stored) *
                  half.row_bytes;
    }
  }
  if (reader.left() != expected) reader.fail("has another length than it says");
  std::vector<std::byte> rows;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (const Half& half : halves_of(kv.load(layer, 0))) {
      rows.resize(half.bytes_of(taken));
      for (std::int64_t head = 0; head < half.heads; ++head) {
        reader.get(rows);
        reader.skip(half.bytes_of(stored - taken));
        runtime.copy(kv.device(layer), half.head(head), Device{}, rows.data(), rows.size());
      }
    }
    kv.store(layer, 0, taken);
  }
  reader.check_digest();
  kv.advance(taken);
}

}  // namespace

void write_kv_file(const std::filesystem::path& path, std::string_view key,
                   std::span<const std::int32_t> ids, KvCache& kv, Runtime& runtime) {
  assert(static_cast<std::int64_t>(ids.size()) == kv.length() && key.size() <= kMaxKeyBytes);
  Writer writer(path);
  writer.put(std::as_bytes(std::span(kMagic)));
  writer.put(bytes_of(std::uint64_t{key.size()}));
  writer.put(std::as_bytes(std::span(key)));
  writer.put(bytes_of(std::uint64_t{ids.size()}));
  writer.put(std::as_bytes(ids));
  writer.put(bytes_of(kv.rope_state().longest_call));
  std::vector<std::byte> rows;
  for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(kv.layers()); ++layer) {
    for (const Half& half : halves_of(kv.load(layer, kv.length()))) {
      rows.resize(half.bytes_of(kv.length()));
      for (std::int64_t head = 0; head < half.heads; ++head) {
        runtime.copy(Device{}, rows.data(), kv.device(layer), half.head(head), rows.size());
        writer.put(rows);
      }
    }
  }
  writer.finish();
}

std::vector<std::int32_t> read_kv_file(const std::filesystem::path& path, std::string_view key,
                                       std::int64_t vocab_size, KvCache& kv, Runtime& runtime) {
  kv.truncate(0);
  Reader reader(path);
  check_key(reader, key, path);
  std::vector<std::int32_t> ids = read_ids(reader, vocab_size);
  const auto longest_call = reader.get<std::int64_t>();
  if (longest_call < 0 || longest_call > (std::int64_t{1} << 32)) {
    reader.fail("is no prompt cache that can be read");
  }
  read_all(reader, static_cast<std::int64_t>(ids.size()), kv, runtime);
  kv.rope_state().longest_call = longest_call;
  ids.resize(static_cast<std::size_t>(kv.length()));
  return ids;
}

}  // namespace shoehorn
