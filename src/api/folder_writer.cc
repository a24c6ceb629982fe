// Quantized weights go through a WeightLoader; their parts wait in a scratch file until the header
// that lists them can be written. All others are read piece by piece when their turn comes.
#include "api/folder_writer.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <unistd.h>

#include "shoehorn/error.h"

#include "api/generation_defaults.h"
#include "api/machine_limits.h"
#include "api/small_files.h"
#include "base/file.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "base/written_file.h"
#include "checkpoint/config.h"
#include "checkpoint/quantization_config.h"
#include "checkpoint/sharded_writer.h"
#include "kernels/decode_row.h"
#include "kernels/decode_weight.h"
#include "model/adapter.h"
#include "plan/size_string.h"
#include "quant/quant_state.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

/// A folder under a temporary name beside its own; gone unless it was finished.
class PartialFolder {
 public:
  explicit PartialFolder(const fs::path& out)
      : out_(out), path_(out.string() + str_cat(".tmp-", ::getpid())) {
    std::error_code error;
    if (fs::exists(out, error) && !(fs::is_directory(out) && fs::is_empty(out))) {
      throw ArgumentError(out.string() + " exists already: name another folder, or remove it");
    }
    fs::create_directories(path_, error);
    if (error) throw FileError(path_, "cannot be made: " + error.message());
  }
  ~PartialFolder() {
    std::error_code ignored;
    if (!finished_) fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const fs::path& path() const { return path_; }
  void finish() {
    std::error_code error;
    fs::remove(out_, error);  // an empty one
    fs::rename(path_, out_, error);
    if (error) throw FileError(out_, "cannot be named: " + error.message());
    finished_ = true;
  }

 private:
  fs::path out_;
  fs::path path_;
  bool finished_ = false;
};

/// Where the parts of quantized weights wait.
class Scratch {
 public:
  explicit Scratch(const fs::path& path)
      : path_(path), writer_(std::make_unique<WrittenFile>(path)) {}

  std::uint64_t append(std::span<const std::byte> bytes) {
    writer_->write(bytes);
    const std::uint64_t at = size_;
    size_ += bytes.size();
    return at;
  }
  /// No more is written: from now on it is read.
  void close() {
    writer_->commit();
    writer_.reset();
    file_ = std::make_unique<File>(path_);
  }
  void remove() {
    file_.reset();
    fs::remove(path_);
  }
  const File& file() const { return *file_; }

 private:
  fs::path path_;
  std::unique_ptr<WrittenFile> writer_;
  std::unique_ptr<File> file_;
  std::uint64_t size_ = 0;
};

/// Writes one model.
class FolderWriter {
 public:
  FolderWriter(const OpenedModel& opened, const RunShape& shape, const QuantizeOptions& options,
               const fs::path& folder)
      : opened_(opened),
        shape_(shape),
        options_(options),
        folder_(folder),
        pool_(shape.threads),
        scratch_(folder / ".scratch"),
        read_scratch_(static_cast<std::size_t>(shape.threads)),
        norms_include_one_(
            Config::parse(opened.checkpoint->config_json(), opened.checkpoint->path())
                .boolean("norm_weights_include_one", false)) {
    for (const ResolvedWeight& weight : opened.resolved.weights) weights_[weight.path] = &weight;
    for (ExpertStack& stack : opened.architecture->expert_stacks()) {
      stacks_.emplace(stack.path, std::move(stack));
    }
    for (const TreeTensor& tensor : tree_tensors(opened.resolved.tree)) {
      const auto found = weights_.find(tensor.path);
      if (found != weights_.end()) total_ += stored_size(*found->second);
    }
  }

  QuantizeReport run(std::size_t max_shard_bytes) {
    std::set<std::string> aliases;
    for (const Tie& tie : opened_.resolved.tree.ties) aliases.insert(tie.alias);
    for (const TreeTensor& tensor : tree_tensors(opened_.resolved.tree)) {
      const auto weight = weights_.find(tensor.path);
      if (weight == weights_.end() || aliases.contains(tensor.path)) continue;
      if (const auto stack = stacks_.find(tensor.path); stack != stacks_.end()) {
        add_stack(*weight->second, tensor, stack->second);
      } else {
        add(*weight->second, tensor);
      }
    }
    scratch_.close();
    report_.written_bytes = write_sharded(folder_, sources_, max_shard_bytes);
    scratch_.remove();
    return report_;
  }

 private:
  static std::size_t stored_size(const ResolvedWeight& weight) {
    if (weight.stack != nullptr) return weight.stack->stored_bytes();
    return weight.quantized != nullptr ? weight.quantized->stored_bytes() : weight.source->bytes;
  }

  /// Experts under the names of released files, a tensor a matrix; those that are stored [in, out]
  /// in one tensor as transformers has it, unless they are quantized.
  void add_stack(const ResolvedWeight& weight, const TreeTensor& tensor, const ExpertStack& stack) {
    if (weight.quantized != nullptr) return add_dequantized_stack(weight, tensor, stack);
    if (weight.stack == nullptr) return add(weight, tensor);  // biases
    const bool quantized = weight.form.is_quantized() && !options_.dequantize;
    const TensorInfo* const whole = opened_.checkpoint->find(tensor.path);
    if (stack.is_transposed && !quantized && whole != nullptr) {
      ResolvedWeight& one = matrices_.emplace_back(weight);
      one.stack = nullptr;
      one.source = one.stored = whole;
      one.shape = whole->shape;
      return add(one, tensor);
    }
    for (std::int64_t i = 0; i < weight.stack->size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      ResolvedWeight& one = matrices_.emplace_back(weight);
      one.path = stack.matrix_name(i);
      one.shape = weight.stack->matrix;
      one.source = one.stored = weight.stack->plain.empty() ? nullptr : &weight.stack->plain[at];
      one.quantized = weight.stack->quantized.empty() ? nullptr : weight.stack->quantized[at];
      one.stack = nullptr;
      TreeTensor matrix = tensor;
      matrix.path = one.path;
      matrix.shape = one.shape;
      add(one, matrix);
    }
  }

  /// Experts in MXFP4 [E, N, K] as one tensor, [E, K, N] where transformers has them so.
  void add_dequantized_stack(const ResolvedWeight& weight, const TreeTensor& tensor,
                             const ExpertStack& stack) {
    ++report_.quantized;
    report_.read_bytes += stored_size(weight);
    const DType dtype = float_dtype();
    sources_.push_back(
        {weight.path, dtype, tensor.shape, [this, &weight, dtype, &stack](const auto& sink) {
           const HostBuffer buffer = load(weight);
           const WeightView view(weight.form, weight.shape, buffer.data(), Device{});
           for (std::int64_t e = 0; e < weight.shape[0]; ++e) {
             sink_matrix(matrix_of(view, e), dtype, stack.is_transposed, sink);
           }
           advance(weight.quantized->stored_bytes());
         }});
  }

  /// A matrix [N, K] in `dtype`, or transposed.
  template <typename Sink>
  void sink_matrix(const WeightView& matrix, DType dtype, bool is_transposed, const Sink& sink) {
    const auto n = static_cast<std::size_t>(matrix.shape[0]);
    const auto k = static_cast<std::size_t>(matrix.shape[1]);
    std::vector<float> values(n * k);
    for (std::size_t row = 0; row < n; ++row) {
      decode_columns(matrix, static_cast<std::int64_t>(row), 0, matrix.shape[1],
                     values.data() + row * k, shape_.isa);
    }
    if (is_transposed) {
      std::vector<float> swapped(n * k);
      for (std::size_t row = 0; row < n; ++row) {
        for (std::size_t column = 0; column < k; ++column) {
          swapped[column * n + row] = values[row * k + column];
        }
      }
      values = std::move(swapped);
    }
    const auto count = static_cast<std::int64_t>(values.size());
    std::vector<std::byte> packed(packed_bytes(dtype, count).value());
    encode_row(dtype, values.data(), count, packed.data(), shape_.isa);
    sink(packed);
  }

  /// What a quantized weight becomes: the type that was asked for, or that of most other weights.
  DType float_dtype() const {
    const DType dtype = opened_.resolved.dtype;
    return is_block(dtype) ? DType::kF32 : dtype;
  }

  void add(const ResolvedWeight& weight, const TreeTensor& tensor) {
    report_.read_bytes += stored_size(weight);
    if (weight.form.is_quantized() && !options_.dequantize) {
      ++report_.quantized;
      if (weight.form.quant_type == QuantType::kInt8) {
        add_int8(weight);
      } else {
        add_four_bit(weight);
      }
      advance(stored_size(weight));
    } else if (weight.form.is_quantized()) {
      ++report_.quantized;
      add_dequantized(weight, tensor);
    } else {
      ++report_.kept;
      add_plain(weight, tensor);
    }
  }

  void advance(std::size_t bytes) {
    done_ += bytes;
    if (options_.load.on_progress)
      options_.load.on_progress(options_.dequantize ? "converting" : "quantizing", done_, total_);
  }

  /// All parts of a quantized weight, as they are in memory.
  HostBuffer load(const ResolvedWeight& weight) {
    WeightSpec spec;
    spec.path = weight.path;
    spec.shape = weight.shape;
    spec.source = weight.source;
    spec.quantized = weight.quantized;
    spec.form = weight.form;
    spec.parity = opened_.parity;
    HostBuffer buffer(form_bytes(spec));
    WeightLoader loader(*opened_.checkpoint, spec, buffer.bytes(), shape_.isa);
    pool_.parallel_for(loader.pieces(), [&](std::int64_t piece, int thread) {
      loader.load(piece, read_scratch_[static_cast<std::size_t>(thread)]);
    });
    return buffer;
  }

  /// A tensor whose bytes wait in the scratch file.
  void add_waiting(const std::string& name, DType dtype, const Shape& shape,
                   std::span<const std::byte> bytes) {
    const std::uint64_t at = scratch_.append(bytes);
    const std::size_t size = bytes.size();
    sources_.push_back({name, dtype, shape, [this, at, size](const auto& sink) {
                          std::vector<std::byte> piece(std::min(size, kPieceBytes));
                          for (std::size_t done = 0; done < size; done += piece.size()) {
                            const std::size_t now = std::min(piece.size(), size - done);
                            scratch_.file().read_at(at + done, std::span(piece).first(now));
                            sink(std::span(piece).first(now));
                          }
                        }});
  }

  void add_int8(const ResolvedWeight& weight) {
    HostBuffer buffer = load(weight);
    const std::int64_t n = weight.shape[0];
    const Int8Layout layout = int8_layout(n, weight.shape[1]);
    const std::string module = weight.path.substr(0, weight.path.rfind('.'));
    const auto bytes = std::span<const std::byte>(buffer.bytes());
    add_waiting(weight.path, DType::kI8, weight.shape,
                bytes.first(static_cast<std::size_t>(n * weight.shape[1])));
    add_waiting(str_cat(module, ".", kScbKey), DType::kF32, Shape{n},
                bytes.subspan(layout.scb, static_cast<std::size_t>(n) * sizeof(float)));
    const std::byte format{kRowWeightFormat};
    add_waiting(str_cat(module, ".", kWeightFormatKey), DType::kU8, Shape{}, {&format, 1});
  }

  void add_four_bit(const ResolvedWeight& weight) {
    HostBuffer buffer = load(weight);
    const std::int64_t elements = weight.shape.elements();
    const FourBitLayout layout = four_bit_layout(weight.form, elements);
    const auto bytes = std::span<const std::byte>(buffer.bytes());
    const auto floats = [&](const std::string& name, std::int64_t count, std::size_t at) {
      add_waiting(name, DType::kF32, Shape{count},
                  bytes.subspan(at, static_cast<std::size_t>(count) * sizeof(float)));
    };
    const auto key = [&](std::string_view name) { return str_cat(weight.path, ".", name); };
    const auto packed = static_cast<std::size_t>((elements + 1) / 2);
    const DType storage = storage_dtype();
    const auto item = static_cast<std::int64_t>(packed_bytes(storage, 1).value());
    if (static_cast<std::int64_t>(packed) % item != 0) {
      throw ArgumentError(str_cat(weight.path, " ", to_string(weight.shape), ": ", packed,
                                  " packed bytes are no whole number of ", to_string(storage),
                                  "; --bnb-4bit-quant-storage uint8 fits any shape"));
    }
    add_waiting(weight.path, storage, Shape{static_cast<std::int64_t>(packed) / item, 1},
                bytes.first(packed));
    QuantState state{.quant_type = weight.form.quant_type,
                     .blocksize = weight.form.blocksize,
                     .dtype = weight.form.dtype,
                     .shape = weight.shape,
                     .nested = {}};
    if (weight.form.nested) {
      add_waiting(key(kAbsmaxKey), DType::kU8, Shape{layout.blocks},
                  bytes.subspan(layout.absmax, static_cast<std::size_t>(layout.blocks)));
      floats(key(kNestedAbsmaxKey), layout.nested_blocks, layout.nested_absmax);
      floats(key(kNestedQuantMapKey), 256, layout.nested_quant_map);
      float offset = 0;
      std::copy_n(bytes.data() + layout.nested_offset, sizeof(float),
                  reinterpret_cast<std::byte*>(&offset));
      state.nested = QuantState::Nested{.offset = offset};
    } else {
      floats(key(kAbsmaxKey), layout.blocks, layout.absmax);
    }
    floats(key(kQuantMapKey), 16, layout.quant_map);
    const std::string json = quant_state_json(state);
    add_waiting(key(quant_state_key(weight.form.quant_type)), DType::kU8,
                Shape{static_cast<std::int64_t>(json.size())}, std::as_bytes(std::span(json)));
  }

  DType storage_dtype() const {
    return dtype_from_torch_name(options_.load.quantization_config->bnb_4bit_quant_storage).value();
  }

  /// Of what is not quantized: as stored or asked for, GGUF's blocks as float32.
  static DType plain_dtype(const TreeTensor& tensor) {
    return is_block(tensor.dtype) ? DType::kF32 : tensor.dtype;
  }

  /// What adapters add to a weight; null: nothing.
  const LowRankUpdate* update_of(const ResolvedWeight& weight) const {
    return opened_.adapters ? opened_.adapters->find(weight.path) : nullptr;
  }

  /// A weight with what adapters add to it, in float32 until it is rounded once.
  void add_merged(const ResolvedWeight& weight, DType dtype, const LowRankUpdate& update) {
    const TensorInfo* info = weight.source;
    sources_.push_back(
        {weight.path, dtype, weight.shape, [this, info, dtype, &update](const auto& sink) {
           const RowLayout layout = row_layout(*info);
           const std::int64_t step = rows_per_piece(*info, kPieceBytes);
           const auto width = static_cast<std::size_t>(layout.row_elements);
           std::vector<float> values;
           std::vector<std::byte> row(packed_bytes(dtype, layout.row_elements).value());
           for (std::int64_t first = 0; first < layout.rows; first += step) {
             const std::int64_t count = std::min(step, layout.rows - first);
             values.resize(static_cast<std::size_t>(count) * width);
             read_rows(*opened_.checkpoint, *info, DType::kF32, first, count,
                       std::as_writable_bytes(std::span(values)), read_scratch_.front(),
                       shape_.isa);
             add_merged_rows(update, first, count, values);
             for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
               encode_row(dtype, values.data() + i * width, layout.row_elements, row.data(),
                          shape_.isa);
               sink(row);
             }
           }
           advance(info->bytes);
         }});
  }

  void add_plain(const ResolvedWeight& weight, const TreeTensor& tensor) {
    const DType dtype = plain_dtype(tensor);
    const TensorInfo* info = weight.stored;
    if (const LowRankUpdate* const update = update_of(weight)) {
      if (weight.is_transposed) {
        throw UnsupportedError(str_cat(weight.path,
                                       ": an adapter of a Conv1D is not merged; "
                                       "--adapter of run adds it"));
      }
      return add_merged(weight, dtype, *update);
    }
    if (weight.is_transposed && is_block(info->dtype)) return add_transposed(weight, dtype);
    if (norms_include_one_ && weight.path.ends_with("norm.weight")) {
      return add_less_one(weight, dtype);
    }
    sources_.push_back({weight.path, dtype, info->shape, [this, info, dtype](const auto& sink) {
                          const RowLayout layout = row_layout(*info);
                          const std::int64_t step = rows_per_piece(*info, kPieceBytes);
                          const std::size_t row_bytes =
                              packed_bytes(dtype, layout.row_elements).value();
                          std::vector<std::byte> rows;
                          for (std::int64_t first = 0; first < layout.rows; first += step) {
                            const std::int64_t count = std::min(step, layout.rows - first);
                            rows.resize(static_cast<std::size_t>(count) * row_bytes);
                            read_rows(*opened_.checkpoint, *info, dtype, first, count, rows,
                                      read_scratch_.front(), shape_.isa);
                            sink(rows);
                          }
                          advance(info->bytes);
                        }});
  }

  void add_dequantized(const ResolvedWeight& weight, const TreeTensor& tensor) {
    DType dtype = opened_.resolved.dtype;
    if (is_block(dtype)) dtype = tensor.dtype;
    if (weight.is_transposed) return add_transposed(weight, dtype);
    sources_.push_back({weight.path, dtype, weight.shape, [this, &weight, dtype](const auto& sink) {
                          const HostBuffer buffer = load(weight);
                          const WeightView view(weight.form, weight.shape, buffer.data(), Device{});
                          const std::int64_t k = weight.shape[1];
                          std::vector<float> values(static_cast<std::size_t>(k));
                          std::vector<std::byte> row(packed_bytes(dtype, k).value());
                          for (std::int64_t n = 0; n < weight.shape[0]; ++n) {
                            decode_columns(view, n, 0, k, values.data(), shape_.isa);
                            if (const LowRankUpdate* const update = update_of(weight)) {
                              add_merged_rows(*update, n, 1, values);
                            }
                            encode_row(dtype, values.data(), k, row.data(), shape_.isa);
                            sink(row);
                          }
                          advance(weight.quantized->stored_bytes());
                        }});
  }

  /// A vector of Gemma's norms from a GGUF file, where the 1 is added that transformers adds
  /// itself.
  void add_less_one(const ResolvedWeight& weight, DType dtype) {
    const TensorInfo* info = weight.stored;
    sources_.push_back(
        {weight.path, dtype, info->shape, [this, info, dtype](const auto& sink) {
           std::vector<float> values(static_cast<std::size_t>(info->shape.elements()));
           read_rows(*opened_.checkpoint, *info, DType::kF32, 0, 1,
                     std::as_writable_bytes(std::span(values)), read_scratch_.front(), shape_.isa);
           for (float& value : values) value -= 1.0F;
           const std::int64_t size = info->shape.elements();
           std::vector<std::byte> packed(packed_bytes(dtype, size).value());
           encode_row(dtype, values.data(), size, packed.data(), shape_.isa);
           sink(packed);
           advance(info->bytes);
         }});
  }

  /// A matrix [N, K] in blocks, or quantized, of a Conv1D, which keeps it as [K, N]: a few columns
  /// at a time.
  void add_transposed(const ResolvedWeight& weight, DType dtype) {
    const Shape shape{weight.shape[1], weight.shape[0]};
    sources_.push_back({weight.path, dtype, shape, [this, &weight, dtype](const auto& sink) {
                          const HostBuffer buffer = load(weight);
                          const WeightView view(weight.form, weight.shape, buffer.data(), Device{});
                          const std::int64_t n = weight.shape[0];
                          const std::int64_t k = weight.shape[1];
                          constexpr std::int64_t kColumns = 256;  // whole blocks
                          std::vector<float> part(static_cast<std::size_t>(kColumns));
                          std::vector<float> rows(static_cast<std::size_t>(kColumns * n));
                          std::vector<std::byte> packed(packed_bytes(dtype, n).value());
                          for (std::int64_t first = 0; first < k; first += kColumns) {
                            const std::int64_t count = std::min(kColumns, k - first);
                            for (std::int64_t i = 0; i < n; ++i) {
                              decode_columns(view, i, first, count, part.data(), shape_.isa);
                              for (std::int64_t j = 0; j < count; ++j) {
                                rows[static_cast<std::size_t>(j * n + i)] =
                                    part[static_cast<std::size_t>(j)];
                              }
                            }
                            for (std::int64_t j = 0; j < count; ++j) {
                              encode_row(dtype, rows.data() + j * n, n, packed.data(), shape_.isa);
                              sink(packed);
                            }
                          }
                          advance(stored_size(weight));
                        }});
  }

  const OpenedModel& opened_;
  const RunShape& shape_;
  const QuantizeOptions& options_;
  fs::path folder_;
  ThreadPool pool_;
  Scratch scratch_;
  std::vector<LoadScratch> read_scratch_;
  std::unordered_map<std::string_view, const ResolvedWeight*> weights_;
  std::map<std::string, ExpertStack> stacks_;
  std::deque<ResolvedWeight> matrices_;  // of stacks
  std::vector<TensorSource> sources_;
  QuantizeReport report_;
  bool norms_include_one_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
};

/// The largest weight and the pieces in flight must fit the CPU's limit.
void require_memory(const OpenedModel& opened, RunShape shape, const LoadOptions& options) {
  if (options.max_memory.empty()) return;
  const Machine machine = machine_limits(options, opened, shape, "");
  const auto cpu = machine.devices.find(DeviceKey::cpu());
  const std::size_t limit = cpu == machine.devices.end() ? 0 : cpu->second.limit_bytes;
  std::size_t largest = 0;
  for (const ResolvedWeight& weight : opened.resolved.weights) {
    if (weight.form.is_quantized()) largest = std::max(largest, resident_bytes(weight));
  }
  const std::size_t needed = process_memory().rss_bytes + largest + largest / 8 +
                             static_cast<std::size_t>(shape.threads) * 4 * kPieceBytes;
  if (needed > limit) {
    throw PlanError(str_cat("the cpu limit of ", limit,
                            " bytes does not hold the largest weight "
                            "and the pieces in flight: ",
                            needed, " bytes are needed"),
                    needed, limit);
  }
}

/// Adapters can be merged into plain weights.
void require_mergeable(const OpenedModel& opened, const QuantizeOptions& options) {
  if (!opened.adapters) return;
  if (!options.dequantize) {
    throw ArgumentError(
        "an adapter is merged into plain weights: `shoehorn convert MODEL OUT --adapter DIR` does "
        "it, and what it writes can be quantized");
  }
  for (const Tie& tie : opened.resolved.tree.ties) {
    if (opened.adapters->find(tie.alias) == nullptr) continue;
    throw UnsupportedError(str_cat("an adapter changes ", tie.alias,
                                   ", which shares its bytes with ", tie.owner,
                                   ": merging would change both"));
  }
}

}  // namespace

QuantizeReport write_model_folder(const OpenedModel& opened, const QuantizeOptions& options,
                                  const std::filesystem::path& out) {
  require_mergeable(opened, options);
  const std::size_t max_shard_bytes = parse_size(options.max_shard_size);
  const RunShape shape = run_shape(opened, planned_for_one(options.load));
  require_memory(opened, shape, options.load);
  if (options.load.on_note) {
    for (const std::string& note : opened.notes) options.load.on_note(note);
  }
  PartialFolder folder(out);
  const QuantizeReport report =
      FolderWriter(opened, shape, options, folder.path()).run(max_shard_bytes);
  const DType dtype = opened.resolved.dtype;
  const std::string torch_dtype(dtype_info(is_block(dtype) ? DType::kF32 : dtype).torch_name);
  const std::string config = written_config_json(
      *opened.checkpoint, opened.resolved,
      options.dequantize ? nullptr : &*options.load.quantization_config, torch_dtype);
  WrittenFile file(folder.path() / "config.json");
  file.write(std::as_bytes(std::span(config)));
  file.commit();
  copy_small_files(*opened.checkpoint, folder.path());
  folder.finish();
  return report;
}

}  // namespace shoehorn
