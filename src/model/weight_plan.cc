#include "model/weight_plan.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/validate.h"

namespace shoehorn {
namespace {

/// What `--dtype auto` makes of a stored type.
DType stored_form(DType dtype) {
  return dtype == DType::kF64 ? DType::kF32 : dtype;
}

/// The type that most bytes of the matrices are stored in.
DType main_dtype(const TensorMatch& match, const std::vector<ExpectedTensor>& expected) {
  std::map<DType, std::size_t> bytes;
  for (const ExpectedTensor& tensor : expected) {
    const TensorInfo* info = match.at(tensor.path);
    if (info != nullptr && tensor.shape.rank() >= 2) bytes[stored_form(info->dtype)] += info->bytes;
  }
  const auto most =
      std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return most == bytes.end() ? DType::kF32 : most->first;
}

std::vector<ExpectedTensor> expected_tensors(const ModuleTree& tree) {
  std::vector<ExpectedTensor> expected;
  for (const TreeTensor& tensor : tree_tensors(tree)) {
    std::string tied_to;
    for (const Tie& tie : tree.ties) {
      if (tie.alias == tensor.path) tied_to = tie.owner;
    }
    expected.push_back({.path = tensor.path,
                        .shape = tensor.shape,
                        .required = !tensor.is_buffer || tensor.persistent,
                        .is_buffer = tensor.is_buffer,
                        .tied_to = tied_to});
  }
  return expected;
}

/// Vectors are few and small, and everything computes in float32: they are widened once. So are the
/// weights of norms that have some for every head.
DType plain_dtype(const TensorInfo& info, bool is_norm, std::optional<DType> dtype) {
  if (info.shape.rank() < 2 || is_norm) return DType::kF32;
  return dtype ? *dtype : stored_form(info.dtype);
}

/// The type that a weight has before it is quantized: transformers casts to it first.
DType load_dtype(const TensorInfo& info, std::optional<DType> dtype) {
  if (dtype) return *dtype;
  return is_block(info.dtype) ? DType::kF32 : stored_form(info.dtype);
}

/// The parameters that are not as others: of norms, matrices stored [in, out], and those that are
/// float32 whatever was asked for.
struct ParameterKinds {
  std::unordered_set<std::string> norms;
  std::unordered_set<std::string> float32;
  std::unordered_set<std::string> transposed;

  void collect(const Module& module, const std::string& prefix) {
    const bool is_norm = module.class_name.find("Norm") != std::string::npos;
    for (const ParameterSpec& parameter : module.parameters) {
      if (is_norm) norms.insert(prefix + parameter.name);
      if (parameter.dtype == DType::kF32) float32.insert(prefix + parameter.name);
      if (module.class_name == "Conv1D" && parameter.shape.rank() == 2) {
        transposed.insert(prefix + parameter.name);
      }
    }
    for (const auto& [name, child] : module.children) collect(child, prefix + name + ".");
  }
};

Shape swapped(const Shape& shape) {
  return {shape[1], shape[0]};
}

/// A stored matrix [in, out] as [out, in], which is how matrices are multiplied and quantized.
std::shared_ptr<const TensorInfo> transposed_view(const TensorInfo& info, bool has_files) {
  auto view = std::make_shared<TensorInfo>(info);
  view->shape = swapped(info.shape);
  if (!has_files) return view;  // values are made up in any order
  view->strides = info.strides.empty()
                      ? std::vector<std::int64_t>{1, info.shape[1]}
                      : std::vector<std::int64_t>{info.strides[1], info.strides[0]};
  if (is_row_major(view->shape, view->strides)) view->strides.clear();
  return view;
}

class Resolver {
 public:
  Resolver(const Architecture& architecture, const Checkpoint& checkpoint,
           const ResolveOptions& options)
      : architecture_(architecture),
        checkpoint_(checkpoint),
        options_(options),
        stored_(checkpoint) {}

  ResolvedModel run() {
    model_.tree = architecture_.module_tree(options_.dtype.value_or(DType::kF32));
    kinds_.collect(model_.tree.root, "");
    model_.notes = stored_.notes();
    model_.quantized_checkpoint = !stored_.empty();
    for (ExpertStack& stack : architecture_.expert_stacks()) {
      stacks_.emplace(stack.path, std::move(stack));
    }
    for (const std::string& prefix : architecture_.ignored_prefixes()) {
      for (const TensorInfo& info : checkpoint_.tensors()) {
        if (info.name.starts_with(prefix)) used_.insert(&info);
      }
    }
    const std::vector<ExpectedTensor> plain =
        take_stacks(take_quantized(expected_tensors(model_.tree)));
    const TensorMatch match = match_checkpoint(checkpoint_, plain, match_options());
    if (!match.warning.empty()) model_.notes.push_back(match.warning);
    model_.dtype = options_.dtype ? *options_.dtype : main_dtype(match, plain);
    sources_ = match.tensors;
    gather_stacks();
    untie_what_differs(match);
    transpose();
    decide_tiers();
    decide();
    set_parameters(model_.tree.root, "");
    model_.groups = architecture_.weight_groups();
    for (std::size_t group = 0; group < model_.groups.size(); ++group) {
      for (const std::string& path : model_.groups[group].weights) {
        if (!path.empty()) model_.weights.push_back(resolve(path, group));
      }
    }
    return std::move(model_);
  }

 private:
  /// Leaves the weights that the checkpoint has quantized out of what is expected of it plainly.
  std::vector<ExpectedTensor> take_quantized(std::vector<ExpectedTensor> expected) {
    for (const ExpectedTensor& tensor : expected) {
      auto found = find_quantized(tensor.path);
      if (found == nullptr) continue;
      const auto stack = stacks_.find(tensor.path);
      const bool is_transposed = kinds_.transposed.contains(tensor.path);
      const Shape shape = stack != stacks_.end() ? stack->second.shape
                          : is_transposed        ? swapped(tensor.shape)
                                                 : tensor.shape;
      if (found->shape != shape) {
        throw FormatError(checkpoint_.path(),
                          str_cat(found->path, ": config.json asks for ", to_string(shape),
                                  ", it was quantized from ", to_string(found->shape)));
      }
      used_.insert(found->tensors.begin(), found->tensors.end());
      quantized_.emplace(tensor.path, std::move(found));
    }
    // A tied head that is quantized by itself is no longer tied.
    std::erase_if(model_.tree.ties, [&](const Tie& tie) { return quantized_.contains(tie.alias); });
    std::erase_if(expected, [&](const ExpectedTensor& t) { return quantized_.contains(t.path); });
    return expected;
  }

  /// Experts are expected as one tensor where there is one of that name, else one by one.
  std::vector<ExpectedTensor> take_stacks(std::vector<ExpectedTensor> expected) {
    std::vector<ExpectedTensor> result;
    for (ExpectedTensor& tensor : expected) {
      const auto found = stacks_.find(tensor.path);
      if (found == stacks_.end() || !found->second.is_matrices() || is_stored(tensor) ||
          !may_be_single(found->second, result.size())) {
        result.push_back(std::move(tensor));
        continue;
      }
      const ExpertStack& stack = found->second;
      const Shape matrix{stack.shape[1], stack.shape[2]};
      std::vector<std::shared_ptr<const QuantizedTensor>> quantized;
      for (std::int64_t i = 0; i < stack.shape[0]; ++i) {
        const std::string name = stack.matrix_name(i);
        auto one = find_quantized(name);
        if (one == nullptr || one->shape != matrix) {
          result.push_back({.path = name, .shape = matrix});
        } else {
          used_.insert(one->tensors.begin(), one->tensors.end());
          quantized.push_back(std::move(one));
        }
      }
      add_quantized_stack(stack, matrix, std::move(quantized));
    }
    return result;
  }

  /// A checkpoint that has fewer tensors than the experts of a config would be is not listed each
  /// expert that it lacks.
  bool may_be_single(const ExpertStack& stack, std::size_t expected) const {
    const std::size_t tensors = 2 * checkpoint_.tensors().size();
    return expected < tensors && static_cast<std::size_t>(stack.shape[0]) <= tensors - expected;
  }

  bool is_stored(const ExpectedTensor& tensor) const {
    const std::string prefix = std::string(architecture_.base_model_prefix()) + ".";
    return checkpoint_.find(tensor.path) != nullptr ||
           (tensor.path.starts_with(prefix) &&
            checkpoint_.find(tensor.path.substr(prefix.size())) != nullptr);
  }

  void add_quantized_stack(const ExpertStack& stack, const Shape& matrix,
                           std::vector<std::shared_ptr<const QuantizedTensor>> quantized) {
    if (quantized.empty()) return;
    const bool all = static_cast<std::int64_t>(quantized.size()) == stack.shape[0];
    const WeightForm form = quantized.front()->form;
    if (!all || !std::ranges::all_of(quantized, [&](const auto& q) { return q->form == form; })) {
      throw FormatError(checkpoint_.path(),
                        str_cat(stack.path,
                                ": some of its experts are quantized and others are "
                                "not, or in another way; ",
                                quantized.front()->path, " is ", to_string(form.quant_type)));
    }
    gathered_[stack.path] = std::make_shared<const TensorStack>(
        TensorStack{.matrix = matrix, .quantized = std::move(quantized)});
  }

  /// Where each matrix of the experts lies, now that all of them are known to be there.
  void gather_stacks() {
    for (const auto& [path, stack] : stacks_) {
      if (!stack.is_matrices() || quantized_.contains(path) || gathered_.contains(path)) continue;
      TensorStack gathered{.matrix = Shape{stack.shape[1], stack.shape[2]}};
      if (const auto fused = sources_.find(path); fused != sources_.end()) {
        gathered.plain =
            slices_of(*fused->second, stack.shape[0], gathered.matrix, stack.is_transposed);
        sources_.erase(fused);
      } else {
        for (std::int64_t i = 0; i < stack.shape[0]; ++i) {
          gathered.plain.push_back(*sources_.at(stack.matrix_name(i)));
        }
      }
      gathered_[path] = std::make_shared<const TensorStack>(std::move(gathered));
    }
  }

  std::shared_ptr<const QuantizedTensor> find_quantized(const std::string& path) const {
    if (auto found = stored_.find(path)) return found;
    for (const auto& [known, name] : architecture_.stored_names()) {
      if (known != path) continue;
      if (auto found = stored_.find(name)) return found;
    }
    const std::string prefix = std::string(architecture_.base_model_prefix()) + ".";
    return stored_.find(path.starts_with(prefix) ? path.substr(prefix.size()) : prefix + path);
  }

  std::vector<std::pair<std::string, std::string>> stored_names() const {
    auto names = architecture_.stored_names();
    names.insert(names.end(), model_.tree.stored_names.begin(), model_.tree.stored_names.end());
    return names;
  }

  MatchOptions match_options() const {
    return {.base_model_prefix = std::string(architecture_.base_model_prefix()),
            .stored_names = stored_names(),
            .strict = options_.strict,
            .used = used_};
  }

  void untie_what_differs(const TensorMatch& match) {
    for (const auto& [owner, alias] : match.stored_twice) {
      const TensorInfo& own = *match.at(alias);
      if (same_bytes(checkpoint_, *match.at(owner), own)) {
        sources_[alias] = match.at(owner);
        continue;
      }
      std::erase_if(model_.tree.ties,
                    [&name = alias](const Tie& tie) { return tie.alias == name; });
      model_.notes.push_back(
          str_cat("config.json ties ", alias, " to ", owner,
                  ", but the checkpoint has both and they differ: both are kept"));
    }
  }

  void transpose() {
    for (const std::string& path : kinds_.transposed) {
      const auto source = sources_.find(path);
      if (source == sources_.end() || source->second == nullptr) continue;
      views_[path] = transposed_view(*source->second, !checkpoint_.files().empty());
      stored_as_[path] = std::exchange(source->second, views_[path].get());
    }
  }

  /// Which linear modules are quantized on the way in, and why the others are not.
  void decide() {
    if (model_.quantized_checkpoint) {
      for (auto& [path, decision] : decide_linears(model_.tree, {.load_in_8bit = true})) {
        if (quantized_.contains(path + ".weight")) continue;
        model_.kept_linears[path] =
            decision.quantize ? "stored as it is in the checkpoint" : decision.reason;
      }
    } else if (options_.quantization != nullptr) {
      for (auto& [path, decision] : decide_linears(model_.tree, *options_.quantization)) {
        if (decision.quantize) {
          chosen_.insert(path + ".weight");
        } else {
          model_.kept_linears[path] = decision.reason;
        }
      }
      decide_stacks();
      // A tied head that is to be quantized becomes a weight of its own.
      std::erase_if(model_.tree.ties, [&](const Tie& tie) { return chosen_.contains(tie.alias); });
    }
  }

  void decide_stacks() {
    for (const auto& [path, stack] : gathered_) {
      const LinearDecision decision =
          options_.quantize_experts
              ? decide_module(path.substr(0, path.rfind('.')), *options_.quantization)
              : LinearDecision{.reason = "experts in one tensor, as transformers keeps them"};
      if (decision.quantize) {
        chosen_.insert(path);
      } else {
        model_.kept_linears[path] = decision.reason;
      }
    }
  }

  /// Which linear weights may have another form where they live.
  void decide_tiers() {
    if (options_.tiers == nullptr) return;
    for (const auto& [path, decision] : decide_linears(model_.tree, *options_.tiers)) {
      if (decision.quantize) tiered_.insert(path + ".weight");
    }
  }

  /// Gives every parameter the type that it has in the checkpoint, or that was asked for.
  void set_parameters(Module& module, const std::string& prefix) {
    for (ParameterSpec& parameter : module.parameters) {
      const std::string path = prefix + parameter.name;
      const WeightForm form = form_of(path);
      parameter.quant_type = form.quant_type;
      if (const auto source = sources_.find(path); source != sources_.end()) {
        if (source->second == nullptr) continue;
        // The tree has the type that was asked for, but for what transformers keeps in float32.
        if (form.is_quantized()) {
          parameter.dtype = form.dtype;
        } else if (!options_.dtype) {
          parameter.dtype = stored_form(source->second->dtype);
        }
      } else if (form.is_quantized() || quantized_.contains(path) || gathered_.contains(path)) {
        parameter.dtype = form.dtype;
      }
    }
    for (auto& [name, child] : module.children) set_parameters(child, prefix + name + ".");
  }

  WeightForm form_of(const std::string& path) const {
    if (const auto stored = quantized_.find(path); stored != quantized_.end()) {
      return stored->second->form;
    }
    if (const auto gathered = gathered_.find(path); gathered != gathered_.end()) {
      const TensorStack& stack = *gathered->second;
      if (!stack.quantized.empty()) return stack.quantized.front()->form;
      return form_of(path, stack.plain.front());
    }
    const auto source = sources_.find(path);
    if (source == sources_.end() || source->second == nullptr) return {};
    // Biases of experts are vectors too.
    if (stacks_.contains(path)) return {.dtype = DType::kF32};
    return form_of(path, *source->second);
  }

  WeightForm form_of(const std::string& path, const TensorInfo& info) const {
    if (!chosen_.contains(path)) {
      const bool kept = options_.dtype != DType::kF32 && kinds_.float32.contains(path);
      return {.dtype = plain_dtype(info, kinds_.norms.contains(path),
                                   kept ? std::nullopt : options_.dtype)};
    }
    return quantized_form(*options_.quantization, load_dtype(info, options_.dtype));
  }

  ResolvedWeight resolve(const std::string& path, std::size_t group) {
    ResolvedWeight weight;
    weight.path = path;
    weight.form = form_of(path);
    weight.group = group;
    weight.is_transposed = kinds_.transposed.contains(path);
    if (const auto stored = quantized_.find(path); stored != quantized_.end()) {
      weight.quantized = stored->second;
      weight.shape = stored->second->shape;
    } else if (const auto gathered = gathered_.find(path); gathered != gathered_.end()) {
      weight.stack = gathered->second;
      weight.shape = stacks_.at(path).shape;
    } else {
      weight.source = sources_.at(path);
      weight.stored = weight.source;
      if (const auto view = views_.find(path); view != views_.end()) {
        weight.view = view->second;
        weight.stored = stored_as_.at(path);
      }
      weight.shape = weight.source->shape;
      if (tiered_.contains(path)) weight.tiered_dtype = load_dtype(*weight.source, options_.dtype);
    }
    if (is_looked_up(weight) && weight.source == nullptr) {
      throw UnsupportedError(str_cat(checkpoint_.path().string(), ": ", path,
                                     " is quantized; shoehorn looks up the rows of embeddings that "
                                     "are stored as floats or GGUF blocks"));
    }
    if (const auto stack = stacks_.find(path); stack != stacks_.end()) {
      weight.used = stack->second.used;
    }
    if (model_.quant_type == QuantType::kNone) model_.quant_type = weight.form.quant_type;
    return weight;
  }

  const Architecture& architecture_;
  const Checkpoint& checkpoint_;
  const ResolveOptions& options_;
  QuantizedTensors stored_;
  ResolvedModel model_;
  ParameterKinds kinds_;
  std::unordered_map<std::string, const TensorInfo*> sources_;
  std::unordered_map<std::string, std::shared_ptr<const TensorInfo>> views_;
  std::unordered_map<std::string, const TensorInfo*> stored_as_;  // of the views
  std::unordered_map<std::string, std::shared_ptr<const QuantizedTensor>> quantized_;
  std::unordered_set<const TensorInfo*> used_;
  std::unordered_set<std::string> chosen_;  // parameters to quantize on the way in
  std::map<std::string, ExpertStack> stacks_;
  std::map<std::string, std::shared_ptr<const TensorStack>> gathered_;  // of matrices, by path
  std::unordered_set<std::string> tiered_;  // parameters that may have another form
};

}  // namespace

ResolvedModel resolve_model(const Architecture& architecture, const Checkpoint& checkpoint,
                            const ResolveOptions& options) {
  return Resolver(architecture, checkpoint, options).run();
}

std::size_t resident_bytes(const ResolvedWeight& weight) {
  return resident_bytes(weight, weight.form);
}

std::size_t streamed_bytes(const ResolvedWeight& weight) {
  return streamed_bytes(weight, weight.form);
}

std::size_t resident_bytes(const ResolvedWeight& weight, const WeightForm& form) {
  return form_bytes(form, weight.shape).value();
}

std::size_t streamed_bytes(const ResolvedWeight& weight, const WeightForm& form) {
  if (weight.quantized != nullptr) return weight.quantized->stored_bytes();
  if (weight.stack != nullptr) {
    const std::vector<TensorInfo>& plain = weight.stack->plain;
    const bool cached = !plain.empty() && (form.is_quantized() || !plain.front().strides.empty());
    return cached ? resident_bytes(weight, form) : weight.stack->stored_bytes();
  }
  // What shrinks on the way in, or has strides, is streamed from the weight cache.
  const std::size_t bytes = resident_bytes(weight, form);
  if (form.is_quantized() || !weight.source->strides.empty()) return bytes;
  return weight.shape.rank() >= 2 ? std::min(bytes, weight.source->bytes) : weight.source->bytes;
}

StorageId storage_of(const ResolvedWeight& weight) {
  if (weight.quantized != nullptr) return {weight.quantized.get(), weight.form.quant_type};
  if (weight.stack != nullptr) return {weight.stack.get(), weight.form.quant_type};
  return {weight.source, weight.form.quant_type};
}

bool is_looked_up(const ResolvedWeight& weight) {
  return weight.group == 0;
}

std::vector<WeightGroup> place_weights(
    const ResolvedModel& model, const std::function<Device(std::string_view path)>& device_of,
    const std::function<WeightCompute(QuantType)>& compute_of, BnbParity parity) {
  std::vector<WeightGroup> groups;
  std::map<StorageId, int> resident;  // → position in all groups
  int position = 0;
  auto next = model.weights.begin();
  for (const WeightGroupNames& names : model.groups) {
    WeightGroup& group = groups.emplace_back(WeightGroup{names.name, {}});
    for (const std::string& path : names.weights) {
      WeightSpec& spec = group.weights.emplace_back();
      spec.path = path;
      if (!path.empty()) {
        spec.shape = next->shape;
        spec.source = next->source;
        spec.view = next->view;
        spec.quantized = next->quantized;
        spec.stack = next->stack;
        spec.form = next->form;
        spec.compute = compute_of(next->form.quant_type);
        spec.parity = parity;
        spec.device = device_of(path);
        // An embedding on disk is read row by row; the head that shares its bytes is streamed.
        spec.rows_only = is_looked_up(*next);
        const auto owner = resident.find(storage_of(*next));
        if (owner != resident.end()) spec.tied_to = owner->second;
        if (spec.device.kind != DeviceKind::kDisk) resident.emplace(storage_of(*next), position);
        ++next;
      }
      ++position;
    }
  }
  return groups;
}

std::vector<Device> compute_devices(const std::vector<WeightGroup>& groups) {
  std::vector<Device> devices;
  for (const WeightGroup& group : groups) {
    std::vector<std::pair<Device, std::size_t>> bytes;
    for (const WeightSpec& weight : group.weights) {
      const Device device = weight.device.is_accelerator() ? weight.device : Device{};
      auto entry = std::ranges::find(bytes, device, &std::pair<Device, std::size_t>::first);
      if (entry == bytes.end()) entry = bytes.insert(bytes.end(), {device, 0});
      entry->second += form_bytes(weight);
    }
    const auto most = std::ranges::max_element(bytes, {}, &std::pair<Device, std::size_t>::second);
    devices.push_back(most == bytes.end() ? Device{} : most->first);
  }
  return devices;
}

}  // namespace shoehorn
