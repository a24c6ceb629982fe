#include "checkpoint/torch_file.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/checked.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "checkpoint/zip_directory.h"

namespace shoehorn {
namespace {

using pickle::Kind;
using pickle::Pickle;
using pickle::StorageId;
using pickle::StorageRange;
using pickle::TorchTensors;

constexpr std::string_view kZipStart = "PK\x03\x04";
// The integer 0x1950a86a20f9469cfc6c, which begins a file older than torch 1.6.
constexpr std::string_view kMagicDigits = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::int64_t kLegacyProtocol = 1001;
constexpr std::uint64_t kMaxByteOrderBytes = 16;

std::uint64_t checked_bytes(const StorageId& id, const std::filesystem::path& path) {
  const auto bytes =
      checked_mul(static_cast<std::uint64_t>(id.elements), std::uint64_t{id.element_bytes()});
  if (!bytes) throw FormatError(path, str_cat("storage ", printable(id.key), ": is too large"));
  return *bytes;
}

// The zip form: <name>/data.pkl, <name>/data/<key> for every storage, <name>/byteorder.

/// "archive" of "archive/data.pkl".
std::string root_folder(const ZipDirectory& zip, const std::filesystem::path& path) {
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipEntry* found = nullptr;
  for (const ZipEntry& entry : zip.entries()) {
    if (!entry.name.ends_with(kPickle)) continue;
    if (found != nullptr) {
      throw FormatError(
          path, str_cat("has both ", printable(found->name), " and ", printable(entry.name)));
    }
    found = &entry;
  }
  if (found == nullptr) {
    throw FormatError(path, "is a zip archive without a data.pkl: torch.save did not write it");
  }
  return found->name.substr(0, found->name.size() - kPickle.size());
}

void require_little_endian(const ByteSource& source, const ZipEntry* byte_order) {
  if (byte_order == nullptr) return;  // older than torch 2.1
  std::string text(std::min(byte_order->bytes, kMaxByteOrderBytes), '\0');
  source.read_at(byte_order->offset, std::as_writable_bytes(std::span(text)));
  if (text == "little") return;
  throw UnsupportedError(str_cat(source.path.string(), ": its byteorder is ", printable(text),
                                 "; only little is read"));
}

TorchTensors read_zip(const ByteSource& source, std::uint32_t file_index) {
  const ZipDirectory zip(source);
  const std::string root = root_folder(zip, source.path);
  require_little_endian(source, zip.find(root + "/byteorder"));
  const ZipEntry& entry = *zip.find(root + "/data.pkl");
  const std::string what = "data.pkl";
  const Pickle pickle = pickle::read_pickle(source, entry.offset, entry.offset + entry.bytes, what);
  const auto locate = [&](const StorageId& id) -> StorageRange {
    const std::string name = str_cat(root, "/data/", id.key);
    const ZipEntry* storage = zip.find(name);
    if (storage == nullptr) {
      throw FormatError(source.path, str_cat("has no entry ", printable(name),
                                             ", which its pickle takes a storage from"));
    }
    const std::uint64_t bytes = checked_bytes(id, source.path);
    if (bytes != storage->bytes || id.view) {
      throw FormatError(source.path, str_cat("entry ", printable(name), ": has ", storage->bytes,
                                             " bytes; its pickle says ", bytes));
    }
    return {storage->offset, storage->bytes};
  };
  return pickle::state_dict_tensors(pickle, source, what, file_index, locate);
}

// The older form: a magic number, a version, facts about the machine, the state_dict, the keys of
// the storages, each its own pickle; then for every key its number of elements and its bytes.

class LegacyReader {
 public:
  LegacyReader(const ByteSource& source, std::uint32_t file_index)
      : source_(source), file_index_(file_index) {}

  TorchTensors read() {
    read_preamble();
    const Pickle state_dict = next_pickle("state_dict");
    place_storages(state_dict);
    const auto locate = [&](const StorageId& id) { return range_of(id); };
    return pickle::state_dict_tensors(state_dict, source_, "state_dict", file_index_, locate);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw FormatError(source_.path, what); }

  Pickle next_pickle(const std::string& what) {
    Pickle pickle = pickle::read_pickle(source_, position_, source_.size, what);
    position_ = pickle.end;
    return pickle;
  }

  void read_preamble() {
    const Pickle magic = next_pickle("magic number");
    const pickle::Value& number = magic.at(magic.root);
    if (number.kind != Kind::kBigInteger || number.text() != kMagicDigits) {
      fail("is not what torch.save writes: it has another magic number");
    }
    const Pickle version = next_pickle("protocol version");
    const pickle::Value& protocol = version.at(version.root);
    if (protocol.kind != Kind::kInteger || protocol.integer() != kLegacyProtocol) {
      fail(str_cat("has another protocol version than ", kLegacyProtocol));
    }
    const Pickle machine = next_pickle("sys_info");
    const pickle::Value& facts = machine.at(machine.root);
    if (facts.kind != Kind::kDict) fail("sys_info: is no dict");
    for (std::size_t i = 0; i + 1 < facts.items().size(); i += 2) {
      const pickle::Value& key = machine.at(facts.items()[i]);
      const pickle::Value& value = machine.at(facts.items()[i + 1]);
      if (key.kind != Kind::kText || key.text() != "little_endian") continue;
      if (value.kind == Kind::kBool && value.integer() == 1) continue;
      throw UnsupportedError(str_cat(source_.path.string(),
                                     ": was written on a big-endian machine; only little is read"));
    }
  }

  /// Walks over the storages behind the pickles. How large an element is, the state_dict says.
  void place_storages(const Pickle& state_dict) {
    std::unordered_map<std::string, StorageId> ids;
    for (const pickle::Ref storage : state_dict.storages) {
      StorageId id = pickle::storage_id(state_dict, storage, source_.path, "state_dict");
      const auto [found, is_new] = ids.try_emplace(id.key, id);
      if (is_new) continue;
      if (found->second.dtype != id.dtype || found->second.elements != id.elements) {
        fail(str_cat("storage ", printable(id.key), ": is described twice, differently"));
      }
    }
    const Pickle keys = next_pickle("storage keys");
    const pickle::Value& list = keys.at(keys.root);
    if (list.kind != Kind::kList) fail("storage keys: are no list");
    for (const pickle::Ref item : list.items()) {
      if (keys.at(item).kind != Kind::kText) fail("storage keys: one is no string");
      const std::string key(keys.at(item).text());
      const auto id = ids.find(key);
      if (id == ids.end()) fail(str_cat("storage ", printable(key), ": is of unknown type"));
      place(id->second);
    }
  }

  void place(const StorageId& id) {
    std::array<std::byte, sizeof(std::int64_t)> head{};
    if (source_.size - position_ < head.size()) ends_early(id);
    source_.read_at(position_, head);
    position_ += head.size();
    const auto elements = read_le<std::int64_t>(head.data());
    if (elements != id.elements) {
      fail(str_cat("storage ", printable(id.key), ": has ", elements, " elements; its pickle says ",
                   id.elements));
    }
    const std::uint64_t bytes = checked_bytes(id, source_.path);
    if (bytes > source_.size - position_) ends_early(id);
    if (!ranges_.try_emplace(id.key, StorageRange{position_, bytes}).second) {
      fail(str_cat("storage ", printable(id.key), ": is there twice"));
    }
    position_ += bytes;
  }

  [[noreturn]] void ends_early(const StorageId& id) const {
    fail(str_cat("ends inside storage ", printable(id.key), "; is the download complete?"));
  }

  StorageRange range_of(const StorageId& id) const {
    const auto found = ranges_.find(id.key);
    if (found == ranges_.end()) fail(str_cat("has no storage ", printable(id.key)));
    StorageRange range = found->second;
    if (!id.view) return range;
    const auto item = static_cast<std::int64_t>(id.element_bytes());
    if (id.view->offset > id.elements || id.view->elements > id.elements - id.view->offset) {
      fail(str_cat("storage ", printable(id.key), ": a view reaches past its ", id.elements,
                   " elements"));
    }
    range.offset += static_cast<std::uint64_t>(id.view->offset * item);
    range.bytes = static_cast<std::uint64_t>(id.view->elements * item);
    return range;
  }

  const ByteSource& source_;
  std::uint32_t file_index_;
  std::uint64_t position_ = 0;
  std::unordered_map<std::string, StorageRange> ranges_;
};

}  // namespace

bool looks_like_torch_file(std::span<const std::byte> first) {
  const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
  return text.starts_with(kZipStart) ||
         (text.starts_with('\x80') && text.find(kMagicDigits) != std::string_view::npos);
}

pickle::TorchTensors read_torch_file(const ByteSource& source, std::uint32_t file_index) {
  std::array<std::byte, 24> buffer{};
  const auto first = std::span(buffer).first(
      static_cast<std::size_t>(std::min<std::uint64_t>(source.size, buffer.size())));
  source.read_at(0, first);
  if (!looks_like_torch_file(first)) {
    throw FormatError(source.path,
                      "is not what torch.save writes: neither a zip archive nor the older form");
  }
  const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
  return text.starts_with(kZipStart) ? read_zip(source, file_index)
                                     : LegacyReader(source, file_index).read();
}

}  // namespace shoehorn
