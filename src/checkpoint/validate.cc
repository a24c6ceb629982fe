#include "checkpoint/validate.h"

#include <algorithm>
#include <unordered_set>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

// Of one kind of problem. A model of 1,000 tensors whose file is of another model still gets them
// all; a hostile config with a million layers does not fill the terminal's memory.
constexpr std::size_t kMaxListed = 2000;

// One section of the report: a heading with the number of lines, and the lines.
class Section {
 public:
  explicit Section(std::string_view heading) : heading_(heading) {}

  void add(const std::string& line) {
    if (++count_ <= kMaxListed) lines_ += "\n    " + line;
  }
  bool empty() const { return count_ == 0; }
  std::string text() const {
    if (empty()) return "";
    std::string text = str_cat("\n  ", count_, " ", heading_, ":", lines_);
    if (count_ > kMaxListed) text += str_cat("\n    and ", count_ - kMaxListed, " more");
    return text;
  }

 private:
  std::string_view heading_;
  std::size_t count_ = 0;
  std::string lines_;
};

bool can_be_parameter(DType dtype) {
  return is_floating(dtype) || is_block(dtype);
}

/// What bitsandbytes' four-bit weights look like without their quant_state.
bool looks_packed(const TensorInfo& info) {
  return info.dtype == DType::kU8 && info.shape.rank() == 2 && info.shape[1] == 1;
}
constexpr std::string_view kPackedHint =
    ": four-bit values, but there is no .quant_state.bitsandbytes__nf4 or __fp4 beside them";

class Matcher {
 public:
  Matcher(const Checkpoint& checkpoint, const std::vector<ExpectedTensor>& expected,
          const MatchOptions& options)
      : checkpoint_(checkpoint), expected_(expected), options_(options) {}

  TensorMatch run() {
    used_ = options_.used;
    for (const ExpectedTensor& tensor : expected_) {
      if (!tensor.tied_to.empty()) aliases_[tensor.tied_to].push_back(&tensor);
    }
    for (const ExpectedTensor& tensor : expected_) find_bytes(tensor);
    for (const ExpectedTensor& tensor : expected_) share_bytes(tensor);
    for (const ExpectedTensor& tensor : expected_) require_bytes(tensor);
    list_unexpected();
    throw_report();
    return std::move(match_);
  }

 private:
  std::string file_name(const TensorInfo& info) const {
    return checkpoint_.path_of(info).filename().string();
  }

  // The tensor stored under the path, or under the path with or without the prefix.
  const TensorInfo* find_stored(const std::string& path) const {
    if (const TensorInfo* info = checkpoint_.find(path)) return info;
    for (const auto& [known, name] : options_.stored_names) {
      if (known != path) continue;
      if (const TensorInfo* info = checkpoint_.find(name)) return info;
    }
    if (options_.base_model_prefix.empty()) return nullptr;
    const std::string prefix = options_.base_model_prefix + ".";
    if (path.starts_with(prefix)) return checkpoint_.find(path.substr(prefix.size()));
    return checkpoint_.find(prefix + path);
  }

  void find_bytes(const ExpectedTensor& tensor) {
    const TensorInfo* info = find_stored(tensor.path);
    if (!match_.tensors.emplace(tensor.path, info).second) {
      throw ArgumentError(str_cat(tensor.path, " is expected twice"));
    }
    if (info == nullptr) return;
    used_.insert(info);
    if (info->shape != tensor.shape) {
      wrong_shape_.add(str_cat(tensor.path, ": config.json asks for ", to_string(tensor.shape),
                               ", ", file_name(*info), " has ", to_string(info->dtype), " ",
                               to_string(info->shape), looks_packed(*info) ? kPackedHint : ""));
    } else if (!tensor.is_buffer && !can_be_parameter(info->dtype)) {
      wrong_type_.add(str_cat(tensor.path, ": ", file_name(*info), " has ", to_string(info->dtype),
                              " ", to_string(info->shape)));
    }
    if (tensor.tied_to.empty()) return;
    if (owner_of(tensor) != nullptr) match_.stored_twice.emplace_back(tensor.tied_to, tensor.path);
  }

  const TensorInfo*& owner_of(const ExpectedTensor& tensor) {
    const auto owner = match_.tensors.find(tensor.tied_to);
    if (owner == match_.tensors.end() || aliases_.contains(tensor.path)) {
      throw ArgumentError(str_cat(tensor.path, " is tied to ", tensor.tied_to,
                                  ", which is not expected before it, or others to itself"));
    }
    return owner->second;
  }

  // First the owner takes what an alias has, in the order of the aliases; the others follow when
  // require_bytes comes to them.
  void share_bytes(const ExpectedTensor& tensor) {
    if (tensor.tied_to.empty()) return;
    const TensorInfo*& owner = owner_of(tensor);
    if (owner == nullptr) owner = match_.tensors[tensor.path];
  }

  void require_bytes(const ExpectedTensor& tensor) {
    const TensorInfo*& info = match_.tensors[tensor.path];
    if (!tensor.tied_to.empty()) {
      if (info == nullptr) info = owner_of(tensor);
      return;  // what is missing is said of its owner
    }
    if (info != nullptr || !tensor.required) return;
    std::string line = str_cat(tensor.path, " ", to_string(tensor.shape));
    if (const auto aliases = aliases_.find(tensor.path); aliases != aliases_.end()) {
      for (const ExpectedTensor* alias : aliases->second) {
        line += str_cat(" (or ", alias->path, ", tied to it)");
      }
    }
    missing_.add(line);
  }

  void list_unexpected() {
    for (const TensorInfo& info : checkpoint_.tensors()) {
      if (used_.contains(&info) || is_known_leftover(info)) continue;
      match_.unexpected.push_back(info.name);
      unexpected_.add(
          str_cat(printable(info.name), " ", to_string(info.shape), " in ", file_name(info)));
    }
    if (match_.unexpected.empty()) return;
    match_.warning =
        str_cat(checkpoint_.path().string(), ": not all of it is used:", unexpected_.text());
  }

  void throw_report() const {
    const bool refused = options_.strict && !unexpected_.empty();
    if (missing_.empty() && wrong_shape_.empty() && wrong_type_.empty() && !refused) return;
    throw FormatError(
        checkpoint_.path(),
        str_cat("does not hold the model that its config.json describes:", missing_.text(),
                wrong_shape_.text(), wrong_type_.text(), unexpected_.text()));
  }

  const Checkpoint& checkpoint_;
  const std::vector<ExpectedTensor>& expected_;
  const MatchOptions& options_;
  TensorMatch match_;
  std::unordered_map<std::string, std::vector<const ExpectedTensor*>> aliases_;  // by tied_to
  std::unordered_set<const TensorInfo*> used_;
  Section missing_{"missing"};
  Section wrong_shape_{"of another shape"};
  Section wrong_type_{"of a type that weights cannot have"};
  Section unexpected_{"that the model does not have"};
};

}  // namespace

const TensorInfo* TensorMatch::at(const std::string& path) const {
  const auto found = tensors.find(path);
  if (found == tensors.end()) throw ArgumentError(str_cat(path, " is no tensor of the model"));
  return found->second;
}

TensorMatch match_checkpoint(const Checkpoint& checkpoint,
                             const std::vector<ExpectedTensor>& expected,
                             const MatchOptions& options) {
  return Matcher(checkpoint, expected, options).run();
}

bool same_bytes(const Checkpoint& checkpoint, const TensorInfo& a, const TensorInfo& b) {
  if (a.dtype != b.dtype || a.shape != b.shape || a.bytes != b.bytes) return false;
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  std::vector<std::byte> left(std::min(a.bytes, kPieceBytes));
  std::vector<std::byte> right(left.size());
  for (std::size_t done = 0; done < a.bytes; done += kPieceBytes) {
    const std::size_t bytes = std::min(a.bytes - done, kPieceBytes);
    checkpoint.read_at(a, done, std::span(left).first(bytes));
    checkpoint.read_at(b, done, std::span(right).first(bytes));
    if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(bytes),
                    right.begin())) {
      return false;
    }
  }
  return true;
}

bool is_known_leftover(const TensorInfo& info) {
  const std::string name = "." + info.name;  // so that a whole component has to match
  for (const std::string_view suffix :
       {".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached",
        ".attn.masked_bias", ".attention.masked_bias", ".position_ids"}) {
    if (name.ends_with(suffix)) return true;
  }
  // A mask is [1, 1, positions, positions]; a bias of one dimension would be a weight.
  const bool is_bias = name.ends_with(".attn.bias") || name.ends_with(".attention.bias");
  return is_bias && info.shape.rank() == 4;
}

}  // namespace shoehorn
