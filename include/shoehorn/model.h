// A model that is loaded, and what changes while it runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoehorn/cancelled.h"
#include "shoehorn/generation.h"
#include "shoehorn/options.h"

namespace shoehorn {

class ChatTemplate;
class Tokenizer;

/// Module names and where they went: "cpu", "disk", or the number of an accelerator.
struct HfDeviceMap {
  std::vector<std::pair<std::string, std::string>> entries;
};
/// As JSON: {"model.layers.0": "cpu", "model.layers.1": 0}.
std::ostream& operator<<(std::ostream& out, const HfDeviceMap& map);

/// One sequence: its KV cache and position. Borrows its Model. Thread-compatible; sessions of one
/// model may be used from several threads, their passes run one after the other.
class Session {
 public:
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Appends ids (at least one) and returns the logits [vocab_size] after the last one; they are
  /// valid until the next call. Throws PlanError where the context is full, ArgumentError for an id
  /// outside the vocabulary.
  std::span<const float> forward(std::span<const std::int32_t> ids);
  /// The same, with the logits after every id: [ids.size(), vocab_size].
  std::vector<float> forward_all(std::span<const std::int32_t> ids);
  /// The same, but only the likeliest id after every id: the first of the largest logits, which
  /// stay on a CUDA device that computes them. Throws Error where logits hold no number.
  std::vector<std::int32_t> likeliest_all(std::span<const std::int32_t> ids);
  /// Positions filled, and how many there are.
  std::int64_t position() const;
  std::int64_t capacity() const;
  /// Forgets everything from `position` on.
  void truncate(std::int64_t position);
  /// Once `flag` is true, forward() ends within a layer's time by a CancelledError, and the session
  /// is as before. Null: it does not look. The flag is borrowed.
  void cancel_by(const std::atomic<bool>* flag);

 private:
  friend class Model;
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Rows of ids that are computed together; shorter rows are padded on the left and masked.
struct LogitsRequest {
  std::int64_t batch = 0;
  std::int64_t length = 0;
  std::vector<std::int32_t> input_ids;       // [batch, length]
  std::vector<std::uint8_t> attention_mask;  // the same shape, 0 on pads; empty: all 1
  std::vector<std::int32_t> position_ids;    // the same shape; empty: 0, 1, ... from the first real
};

/// A loaded model: immutable, its const methods are thread-safe (passes run one after the other).
class Model {
 public:
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  /// Where every module went, also when that is one device.
  const HfDeviceMap& hf_device_map() const;
  /// Bytes of parameters and buffers as transformers counts them: tied ones once, streamed ones
  /// too.
  std::size_t get_memory_footprint() const;
  std::int64_t vocab_size() const;
  std::int64_t max_context() const;
  /// The plan it was loaded by, as `plan` prints it.
  const std::string& plan_text() const;
  const std::string& plan_json() const;
  /// The plan group by group as a table: where it lives and runs, what it reads, how long that
  /// takes; with `measured`, the same of these passes beside it.
  std::string explain(const std::vector<GroupUse>& measured = {}, bool unicode = true) const;
  /// Resident memory of the process that the plan predicts for a session of `positions` positions
  /// that is given at most `longest_call` ids at once; or of several such sessions, given that many
  /// together.
  std::size_t predicted_peak_bytes(std::int64_t positions, std::int64_t longest_call,
                                   std::int64_t sessions = 1) const;
  /// Memory that a session of max_context() positions and its passes take on the host, at most.
  std::size_t session_bytes() const;
  double load_s() const;
  std::uint64_t weight_bytes() const;     // that a pass of one token reads, wherever they live
  std::uint64_t disk_bytes_read() const;  // by passes so far: weights and spilled caches
  double disk_wait_s() const;             // passes waited for the drive
  double flops_per_token() const;         // of the matrix products with weights

  /// Null where the checkpoint has none.
  const Tokenizer* tokenizer() const;

  /// The checkpoint's chat template, compiled; with `source`, that text in its place, which sees
  /// the checkpoint's special tokens. Throws UnsupportedError where there is none, FileError,
  /// FormatError, TemplateError.
  ChatTemplate chat_template(std::string_view source = {}) const;

  /// A new sequence with room for `capacity` positions; 0: max_context(). Throws DeviceError where
  /// its KV cache does not fit beside what is there.
  Session new_session(std::int64_t capacity = 0) const;

  /// Writes the keys and values that `session` holds, those of `ids`, as a file for load_session:
  /// a prompt cache. Throws FileError.
  void save_session(const std::filesystem::path& path, const Session& session,
                    std::span<const std::int32_t> ids) const;
  /// The session then holds what such a file does, as much as it has room for; returns the ids.
  /// Where it throws, the session is empty. Throws FileError, FormatError for a file that is none
  /// or is damaged, UnsupportedError where it is of another model, or of other weights, options or
  /// instructions that change what is computed.
  std::vector<std::int32_t> load_session(const std::filesystem::path& path, Session& session) const;

  /// Continues `prompt`; its special tokens are added as the tokenizer says. Throws
  /// UnsupportedError where the checkpoint has no tokenizer.
  Generation generate(std::string_view prompt, const GenerateOptions& options = {}) const;
  /// The same from ids.
  Generation generate(std::span<const std::int32_t> ids, const GenerateOptions& options = {}) const;
  /// The same in a session of the caller's, which holds the first session.position() of `ids`
  /// (fewer than all) already: only the others are computed. Afterwards it holds the first
  /// session.position() of `ids` and the new ids. Borrows the session while it runs. Throws
  /// PlanError where the session has no room for `ids`.
  Generation generate(Session& session, std::span<const std::int32_t> ids,
                      const GenerateOptions& options = {}) const;

  /// Appends ids[i] (at least one) to sessions[i], all of them in one pass over the weights (or as
  /// few as hold the rows), and returns the logits [sessions, vocab_size] after the last id of
  /// each. The sessions are this model's and differ. Throws what Session::forward throws; the
  /// sessions then are as before.
  std::vector<float> forward(std::span<Session* const> sessions,
                             std::span<const std::span<const std::int32_t>> ids) const;

  /// The same, but only the likeliest id after each: the first of the largest logits, which stay on
  /// a CUDA device that computes them. Throws Error where logits hold no number.
  std::vector<std::int32_t> likeliest(std::span<Session* const> sessions,
                                      std::span<const std::span<const std::int32_t>> ids) const;

  /// The ids that generate() makes of a prompt. Throws UnsupportedError where the checkpoint has no
  /// tokenizer.
  std::vector<std::int32_t> encode_prompt(std::string_view prompt) const;

  /// All continuations of several prompts (ids), which advance together: num_return_sequences of
  /// each, sampled with draws of its own, or the best of num_beams. Prompts may differ in length.
  /// With num_beams prompts come one after the other. `cancelled` may be null; once true, what
  /// there is is returned. Throws what generate() throws, DeviceError where the KV caches of all
  /// sequences do not fit, UnsupportedError for beams that are sampled and for logprobs of beams.
  std::vector<Completion> complete(std::span<const std::vector<std::int32_t>> prompts,
                                   const GenerateOptions& options = {},
                                   const std::atomic<bool>* cancelled = nullptr) const;

  /// What complete() makes of a prompt with `options`: where they leave it open,
  /// generation_config.json says. Throws ArgumentError.
  SearchWidth search_width(const GenerateOptions& options = {}) const;

  /// Completes prompts as `next` hands them out (nothing: there are no more), up to max_batch at a
  /// time, all in one pass over the weights; a prompt takes the place of a sequence that ended.
  /// Each completion goes to `done` as it ends; its `prompt` counts what `next` gave. A prompt's
  /// tokens are those it has alone, but for rounding (docs/quality.md). `cancelled` may be null;
  /// once true, those under way are done as they are. Throws what complete() throws and what next
  /// and done throw, UnsupportedError for beams and several sequences a prompt.
  void complete_each(const std::function<std::optional<BatchPrompt>()>& next,
                     const std::function<void(Completion)>& done,
                     const GenerateOptions& options = {},
                     const std::atomic<bool>* cancelled = nullptr) const;

  /// Logits [batch, length, vocab_size], zero where the mask is 0.
  std::vector<float> logits(const LogitsRequest& request) const;

 private:
  friend class Chat;
  friend Model from_pretrained(const std::string& model, const LoadOptions& options);
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Loads a checkpoint: a folder, a .safetensors or .gguf file, or "org/name" in the hub's local
/// cache. Every tensor is checked against the model before a byte of weights is read. Throws
/// FileError, FormatError, UnsupportedError, PlanError, DeviceError, ArgumentError.
Model from_pretrained(const std::string& model, const LoadOptions& options = {});

}  // namespace shoehorn
