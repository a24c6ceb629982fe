#include "checkpoint/torch_tensors.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::pickle {
namespace {

constexpr std::size_t kMaxNamesListed = 5;

class StateDictReader {
 public:
  StateDictReader(const Pickle& pickle, const ByteSource& source, const std::string& what,
                  std::uint32_t file_index,
                  const std::function<StorageRange(const StorageId&)>& locate)
      : pickle_(pickle), source_(source), what_(what), file_index_(file_index), locate_(locate) {}

  TorchTensors read() {
    const Value& root = pickle_.at(pickle_.root);
    if (root.kind != Kind::kDict) {
      throw FormatError(source_.path, str_cat(what_, ": holds ", kind_name(root.kind),
                                              "; a state_dict (name: tensor) was expected"));
    }
    const std::span<const Ref> items = root.items();
    std::unordered_set<std::string_view> names;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const Value& key = pickle_.at(items[i]);
      if (key.kind != Kind::kText) {
        throw FormatError(source_.path,
                          str_cat(what_, ": a key of its dict is ", kind_name(key.kind)));
      }
      name_ = key.text();
      if (!names.insert(name_).second) fail("is there twice");
      const Value& value = pickle_.at(items[i + 1]);
      if (value.kind == Kind::kTensor) {
        result_.tensors.push_back(tensor(value));
      } else {
        note_other(value.kind);
      }
    }
    require_tensors();
    std::ranges::stable_sort(result_.tensors, {}, &TensorInfo::offset);
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(source_.path, str_cat(printable(name_), ": ", what));
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw UnsupportedError(str_cat(source_.path.string(), ": ", printable(name_), ": ", what));
  }

  void note_other(Kind kind) {
    if (++others_ > kMaxNamesListed) return;
    others_listed_ +=
        str_cat(others_ > 1 ? ", " : "", printable(name_), " (", kind_name(kind), ")");
  }
  void require_tensors() {
    if (others_ > kMaxNamesListed) {
      others_listed_ += str_cat(" and ", others_ - kMaxNamesListed, " more");
    }
    if (result_.tensors.empty()) {
      throw FormatError(
          source_.path,
          str_cat(what_, ": its dict holds no tensors", others_ > 0 ? " but " + others_listed_ : "",
                  "; a state_dict (name: tensor) was expected: save that part alone"));
    }
    if (others_ > 0) {
      result_.notes.push_back(
          str_cat(source_.path.filename().string(), ": not tensors, not read: ", others_listed_));
    }
  }

  std::int64_t integer(Ref ref, std::string_view what) const {
    const Value& value = pickle_.at(ref);
    if (value.kind != Kind::kInteger) {
      fail(str_cat("its ", what, " is ", kind_name(value.kind), " in place of an int"));
    }
    if (value.integer() < 0) fail(str_cat("its ", what, " is ", value.integer()));
    return value.integer();
  }
  std::vector<std::int64_t> integers(Ref ref, std::string_view what) const {
    const Value& value = pickle_.at(ref);
    if (value.kind != Kind::kTuple && value.kind != Kind::kList) {
      fail(str_cat("its ", what, " is ", kind_name(value.kind), " in place of a tuple"));
    }
    if (value.items().size() > Shape::kMaxRank) {
      refuse(str_cat("has more than ", Shape::kMaxRank, " dimensions"));
    }
    std::vector<std::int64_t> numbers;
    for (const Ref item : value.items()) numbers.push_back(integer(item, what));
    return numbers;
  }

  const StorageId& id_of(Ref storage) {
    if (pickle_.at(storage).kind != Kind::kStorage)
      fail("is made of something else than a storage");
    const auto [found, is_new] = ids_.try_emplace(storage);
    if (is_new) found->second = storage_id(pickle_, storage, source_.path, what_);
    return found->second;
  }
  StorageRange range_of(Ref storage) {
    const StorageId& id = id_of(storage);
    const auto [found, is_new] = ranges_.try_emplace(storage);
    if (is_new) found->second = locate_(id);
    return found->second;
  }

  DType dtype_of(const Value& value) {
    if (value.global.kind == GlobalKind::kRebuildTensorV3) {
      const Value& dtype = pickle_.at(value.items()[6]);
      if (dtype.kind != Kind::kGlobal || dtype.global.kind != GlobalKind::kDType) {
        fail("its dtype is none of torch's");
      }
      return dtype.global.dtype;
    }
    const auto dtype = id_of(value.items()[0]).dtype;
    if (!dtype) fail("has a storage without a dtype");
    return *dtype;
  }

  /// Of a tensor whose storage holds it conjugated or negated (torch's lazy views).
  void require_plain(const Value& value) const {
    const std::span<const Ref> items = value.items();
    const std::size_t metadata = value.global.kind == GlobalKind::kRebuildTensorV3 ? 7 : 6;
    if (value.global.kind == GlobalKind::kRebuildTensor || items.size() <= metadata) return;
    const Value& given = pickle_.at(items[metadata]);
    const bool none =
        given.kind == Kind::kNone || (given.kind == Kind::kDict && given.items().empty());
    if (!none) refuse("is a lazy view (conj, neg); save it as a plain tensor");
  }

  TensorInfo tensor(const Value& value) {
    require_plain(value);
    const std::span<const Ref> items = value.items();
    const StorageRange range = range_of(items[0]);
    const DType dtype = dtype_of(value);
    const DTypeInfo& type = dtype_info(dtype);
    if (type.block_elements != 1) refuse(str_cat("is ", to_string(dtype), ", which is not read"));
    const auto item = static_cast<std::int64_t>(type.block_bytes);
    const std::int64_t first = integer(items[1], "storage offset");
    const Shape shape(integers(items[2], "size"));
    std::vector<std::int64_t> strides = integers(items[3], "stride");
    if (strides.size() != shape.rank()) {
      fail(str_cat("has ", strides.size(), " strides for ", shape.rank(), " dimensions"));
    }
    const auto elements = shape.checked_elements();
    const auto bytes = elements ? packed_bytes(dtype, *elements) : std::nullopt;
    // What broadcasts (stride 0) has more values than the file; a model has no use for more.
    if (!bytes || *bytes > source_.size) {
      fail(str_cat(to_string(dtype), " ", to_string(shape), " has more bytes than its file"));
    }
    require_inside(shape, strides, first, static_cast<std::int64_t>(range.bytes) / item);
    if (is_row_major(shape, strides)) strides.clear();
    return {.name = std::string(name_),
            .dtype = dtype,
            .shape = shape,
            .file = file_index_,
            .offset = range.offset + static_cast<std::uint64_t>(first * item),
            .bytes = *bytes,
            .row_order = {},
            .strides = std::move(strides)};
  }

  void require_inside(const Shape& shape, const std::vector<std::int64_t>& strides,
                      std::int64_t first, std::int64_t storage_elements) const {
    std::optional<std::int64_t> last = first;
    for (std::size_t i = 0; i < shape.rank() && last; ++i) {
      const std::int64_t size = shape[static_cast<int>(i)];
      if (size == 0) {
        last = first - 1;  // no values: only where it would begin has to make sense
        break;
      }
      const auto span = checked_mul(size - 1, strides[i]);
      last = span ? checked_add(*last, *span) : std::nullopt;
    }
    if (!last || *last >= storage_elements) {
      fail(str_cat("reaches past the ", storage_elements, " values of its storage"));
    }
  }

  const Pickle& pickle_;
  const ByteSource& source_;
  const std::string& what_;
  std::uint32_t file_index_;
  const std::function<StorageRange(const StorageId&)>& locate_;
  std::string_view name_;  // the entry being looked at, for messages
  std::unordered_map<Ref, StorageId> ids_;
  std::unordered_map<Ref, StorageRange> ranges_;
  std::size_t others_ = 0;
  std::string others_listed_;
  TorchTensors result_;
};

/// Reads the tuple of a persistent id.
class IdReader {
 public:
  IdReader(const Pickle& pickle, const std::filesystem::path& path, const std::string& what)
      : pickle_(pickle), path_(path), what_(what) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(path_, str_cat(what_, ": a storage ", what));
  }
  std::string_view text(Ref ref) const {
    const Value& value = pickle_.at(ref);
    if (value.kind != Kind::kText) fail(str_cat("is named by ", kind_name(value.kind)));
    return value.text();
  }
  std::int64_t count(Ref ref) const {
    const Value& value = pickle_.at(ref);
    if (value.kind != Kind::kInteger || value.integer() < 0) fail("has no number of elements");
    return value.integer();
  }
  std::optional<DType> dtype(Ref ref) const {
    const Value& value = pickle_.at(ref);
    if (value.kind == Kind::kGlobal && value.global.kind == GlobalKind::kStorage) {
      return value.global.dtype;
    }
    if (value.kind == Kind::kGlobal && value.global.kind == GlobalKind::kUntypedStorage) {
      return std::nullopt;
    }
    fail("has no storage type");
  }

 private:
  const Pickle& pickle_;
  const std::filesystem::path& path_;
  const std::string& what_;
};

}  // namespace

StorageId storage_id(const Pickle& pickle, Ref storage, const std::filesystem::path& path,
                     const std::string& what) {
  const IdReader in(pickle, path, what);
  const std::span<const Ref> items = pickle.at(storage).items();
  if (items.empty()) in.fail("has an empty id");
  const std::string_view kind = in.text(items[0]);
  if (kind == "module") {
    throw UnsupportedError(str_cat(path.string(), ": ", what,
                                   ": pickles a module with its code; save its state_dict()"));
  }
  if (kind != "storage" || items.size() < 5 || items.size() > 6) {
    in.fail("has an id that is not ('storage', type, key, location, numel)");
  }
  StorageId id{.dtype = in.dtype(items[1]),
               .key = std::string(in.text(items[2])),
               .elements = in.count(items[4]),
               .view = {}};
  if (items.size() == 6 && pickle.at(items[5]).kind != Kind::kNone) {
    const Value& view = pickle.at(items[5]);
    if (view.kind != Kind::kTuple || view.items().size() != 3) in.fail("has a view that is none");
    id.view = {.key = std::string(in.text(view.items()[0])),
               .offset = in.count(view.items()[1]),
               .elements = in.count(view.items()[2])};
  }
  return id;
}

TorchTensors state_dict_tensors(const Pickle& pickle, const ByteSource& source,
                                const std::string& what, std::uint32_t file_index,
                                const std::function<StorageRange(const StorageId&)>& locate) {
  return StateDictReader(pickle, source, what, file_index, locate).read();
}

}  // namespace shoehorn::pickle
