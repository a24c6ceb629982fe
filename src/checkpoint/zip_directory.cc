#include "checkpoint/zip_directory.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kZip64EndSignature = 0x06064b50;
constexpr std::uint32_t kZip64LocatorSignature = 0x07064b50;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kCentralBytes = 46;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kZip64EndBytes = 56;
constexpr std::uint64_t kZip64LocatorBytes = 20;
constexpr std::uint64_t kMaxComment = 65535;
// A model of 100,000 tensors has a directory of about 10 MB.
constexpr std::uint64_t kMaxDirectoryBytes = std::uint64_t{64} << 20;
constexpr std::uint16_t kEncryptedFlag = 1;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint32_t kInZip64 = 0xFFFFFFFF;  // the value stands in the zip64 field

std::vector<std::byte> read(const ByteSource& source, std::uint64_t offset, std::uint64_t bytes) {
  std::vector<std::byte> out(static_cast<std::size_t>(bytes));
  source.read_at(offset, out);
  return out;
}

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// An entry as the central directory has it.
struct Central {
  std::string name;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint64_t packed_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t local_offset = 0;
};

class Reader {
 public:
  explicit Reader(const ByteSource& source) : source_(source) {}

  std::vector<ZipEntry> read_entries() {
    const Directory directory = find_directory();
    std::vector<Central> centrals = read_directory(directory);
    std::ranges::stable_sort(centrals, {}, &Central::local_offset);
    std::vector<ZipEntry> entries;
    entries.reserve(centrals.size());
    std::uint64_t taken = 0;  // bytes up to here belong to entries
    for (Central& central : centrals) {
      require_plain(central);
      if (central.local_offset < taken) {
        fail(central, "overlaps the entry before it");
      }
      const std::uint64_t offset = data_offset(central, directory.offset);
      if (central.bytes > directory.offset - offset) {
        fail(central, str_cat("claims ", central.bytes, " bytes; ", directory.offset - offset,
                              " lie between it and the directory"));
      }
      taken = offset + central.bytes;
      if (central.name.ends_with('/')) continue;  // a folder
      entries.push_back({std::move(central.name), offset, central.bytes});
    }
    return entries;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(source_.path, "is a damaged zip archive: " + what);
  }
  [[noreturn]] void fail(const Central& entry, const std::string& what) const {
    throw FormatError(source_.path, str_cat("entry ", printable(entry.name), ": ", what));
  }

  Directory find_directory() const {
    if (source_.size < kEndBytes) fail("it has no directory");
    const std::uint64_t tail_bytes = std::min(source_.size, kEndBytes + kMaxComment);
    const std::uint64_t tail_offset = source_.size - tail_bytes;
    const std::vector<std::byte> tail = read(source_, tail_offset, tail_bytes);
    for (std::uint64_t at = tail_bytes - kEndBytes + 1; at-- > 0;) {
      const std::byte* end = tail.data() + at;
      if (read_le<std::uint32_t>(end) != kEndSignature) continue;
      if (at + kEndBytes + read_le<std::uint16_t>(end + 20) != tail_bytes) continue;
      return checked(directory_at(end, tail_offset + at), tail_offset + at);
    }
    fail("it has no directory; is the download complete?");
  }

  Directory directory_at(const std::byte* end, std::uint64_t end_offset) const {
    Directory directory{.entries = read_le<std::uint16_t>(end + 10),
                        .offset = read_le<std::uint32_t>(end + 16),
                        .bytes = read_le<std::uint32_t>(end + 12)};
    if (end_offset >= kZip64LocatorBytes) {
      const auto locator = read(source_, end_offset - kZip64LocatorBytes, kZip64LocatorBytes);
      if (read_le<std::uint32_t>(locator.data()) == kZip64LocatorSignature) {
        return zip64_directory(read_le<std::uint64_t>(locator.data() + 8),
                               end_offset - kZip64LocatorBytes);
      }
    }
    if (read_le<std::uint16_t>(end + 4) != 0 || read_le<std::uint16_t>(end + 6) != 0) {
      several_disks();
    }
    return directory;
  }

  Directory zip64_directory(std::uint64_t offset, std::uint64_t locator_offset) const {
    if (offset > locator_offset || locator_offset - offset < kZip64EndBytes) {
      fail("its zip64 record lies outside the file");
    }
    const auto record = read(source_, offset, kZip64EndBytes);
    if (read_le<std::uint32_t>(record.data()) != kZip64EndSignature) fail("it has no zip64 record");
    if (read_le<std::uint32_t>(record.data() + 16) != 0 ||
        read_le<std::uint32_t>(record.data() + 20) != 0) {
      several_disks();
    }
    return {.entries = read_le<std::uint64_t>(record.data() + 32),
            .offset = read_le<std::uint64_t>(record.data() + 48),
            .bytes = read_le<std::uint64_t>(record.data() + 40)};
  }

  [[noreturn]] void several_disks() const {
    throw UnsupportedError(str_cat(source_.path.string(), ": is one disk of a split zip archive"));
  }

  Directory checked(const Directory& directory, std::uint64_t end_offset) const {
    if (directory.offset > end_offset || directory.bytes > end_offset - directory.offset) {
      fail(str_cat("its directory of ", directory.bytes, " bytes at ", directory.offset,
                   " does not lie before its end at ", end_offset));
    }
    if (directory.bytes > kMaxDirectoryBytes) {
      fail(str_cat("its directory has ", directory.bytes, " bytes; at most ", kMaxDirectoryBytes,
                   " are allowed"));
    }
    if (directory.entries > directory.bytes / kCentralBytes) {
      fail(str_cat("claims ", directory.entries, " entries in a directory of ", directory.bytes,
                   " bytes"));
    }
    return directory;
  }

  std::vector<Central> read_directory(const Directory& directory) const {
    const auto bytes = read(source_, directory.offset, directory.bytes);
    std::span<const std::byte> rest(bytes);
    std::vector<Central> centrals;
    centrals.reserve(static_cast<std::size_t>(directory.entries));
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      centrals.push_back(read_central(rest));
    }
    if (!rest.empty()) fail(str_cat(rest.size(), " bytes follow the last entry of its directory"));
    return centrals;
  }

  Central read_central(std::span<const std::byte>& rest) const {
    if (rest.size() < kCentralBytes || read_le<std::uint32_t>(rest.data()) != kCentralSignature) {
      fail("its directory ends early");
    }
    const std::byte* head = rest.data();
    const std::size_t name_bytes = read_le<std::uint16_t>(head + 28);
    const std::size_t extra_bytes = read_le<std::uint16_t>(head + 30);
    const std::size_t comment_bytes = read_le<std::uint16_t>(head + 32);
    const std::size_t total = kCentralBytes + name_bytes + extra_bytes + comment_bytes;
    if (rest.size() < total) fail("its directory ends early");
    Central central;
    central.name.assign(reinterpret_cast<const char*>(head + kCentralBytes), name_bytes);
    central.flags = read_le<std::uint16_t>(head + 8);
    central.method = read_le<std::uint16_t>(head + 10);
    central.packed_bytes = read_le<std::uint32_t>(head + 20);
    central.bytes = read_le<std::uint32_t>(head + 24);
    central.local_offset = read_le<std::uint32_t>(head + 42);
    read_zip64_extra(rest.subspan(kCentralBytes + name_bytes, extra_bytes), central);
    rest = rest.subspan(total);
    return central;
  }

  /// The values that do not fit 32 bits, in a fixed order, each only where it is needed.
  void read_zip64_extra(std::span<const std::byte> extra, Central& central) const {
    std::optional<std::span<const std::byte>> field;
    while (extra.size() >= 4) {
      const auto id = read_le<std::uint16_t>(extra.data());
      const std::size_t bytes = read_le<std::uint16_t>(extra.data() + 2);
      if (bytes > extra.size() - 4) fail(central, "has an extra field that ends early");
      if (id == kZip64Extra) field = extra.subspan(4, bytes);
      extra = extra.subspan(4 + bytes);
    }
    for (std::uint64_t* value : {&central.bytes, &central.packed_bytes, &central.local_offset}) {
      if (*value != kInZip64) continue;
      if (!field || field->size() < sizeof(std::uint64_t)) {
        fail(central, "has no zip64 field for a value that needs one");
      }
      *value = read_le<std::uint64_t>(field->data());
      field = field->subspan(sizeof(std::uint64_t));
    }
  }

  void require_plain(const Central& entry) const {
    const std::string& name = entry.name;
    if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      fail(entry, "is no name of a file in an archive");
    }
    std::string_view rest = name;
    while (!rest.empty()) {
      const std::size_t slash = std::min(rest.find('/'), rest.size());
      if (rest.substr(0, slash) == "..") fail(entry, "leaves the archive by its \"..\"");
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    const std::string file = source_.path.string();
    if ((entry.flags & kEncryptedFlag) != 0) {
      throw UnsupportedError(str_cat(file, ": entry ", printable(name), ": is encrypted"));
    }
    if (entry.method != 0) {
      throw UnsupportedError(
          str_cat(file, ": entry ", printable(name), ": is compressed (method ", entry.method,
                  "), which torch.save never does; unpack the archive and zip it with -0"));
    }
    if (entry.packed_bytes != entry.bytes) {
      fail(entry, str_cat("is stored, yet takes ", entry.packed_bytes, " bytes for ", entry.bytes));
    }
  }

  /// Behind the local header, which has to agree with the directory in what it is for.
  std::uint64_t data_offset(const Central& entry, std::uint64_t end) const {
    if (entry.local_offset > end || end - entry.local_offset < kLocalBytes) {
      fail(entry, "lies outside the archive");
    }
    std::array<std::byte, kLocalBytes> head{};
    source_.read_at(entry.local_offset, head);
    if (read_le<std::uint32_t>(head.data()) != kLocalSignature) fail(entry, "has no header");
    const std::uint64_t name_bytes = read_le<std::uint16_t>(head.data() + 26);
    const std::uint64_t extra_bytes = read_le<std::uint16_t>(head.data() + 28);
    const std::uint64_t head_bytes = kLocalBytes + name_bytes + extra_bytes;
    if (head_bytes > end - entry.local_offset) fail(entry, "lies outside the archive");
    const auto name = read(source_, entry.local_offset + kLocalBytes, name_bytes);
    const std::string_view text(reinterpret_cast<const char*>(name.data()), name.size());
    if (text != entry.name) fail(entry, str_cat("calls itself ", printable(text)));
    if (read_le<std::uint16_t>(head.data() + 8) != entry.method) {
      fail(entry, "has two methods of compression");
    }
    return entry.local_offset + head_bytes;
  }

  const ByteSource& source_;
};

}  // namespace

ZipDirectory::ZipDirectory(const ByteSource& source) : entries_(Reader(source).read_entries()) {
  index_.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!index_.emplace(entries_[i].name, i).second) {
      throw FormatError(source.path,
                        str_cat("entry ", printable(entries_[i].name), ": is there twice"));
    }
  }
}

const ZipEntry* ZipDirectory::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

}  // namespace shoehorn
