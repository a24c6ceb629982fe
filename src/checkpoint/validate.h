// Holds a checkpoint against the tensors that a model expects, before a byte of weights is read:
// one report that lists everything that is missing or has the wrong shape, and one warning that
// lists what nobody asked for. transformers and accelerate find some of this while they load, some
// at the first forward pass and some never.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tensor/shape.h"

namespace shoehorn {

struct ExpectedTensor {
  std::string path;          // "model.embed_tokens.weight"
  Shape shape;               // storage order
  bool required = true;      // false: may be absent, as buffers that are not saved are
  bool is_buffer = false;    // may have any type; parameters are floats or blocks
  std::string tied_to = {};  // the path of an earlier tensor whose storage this one shares
};

struct MatchOptions {
  /// "model", "transformer": a checkpoint of the model without its head has names without this in
  /// front, one of a model with a head has it; either is accepted for the other.
  std::string base_model_prefix = {};
  /// {path, name}: what files may call a tensor, prefix or not, where that is not its path.
  std::vector<std::pair<std::string, std::string>> stored_names = {};
  /// Tensors that nobody expects are an error, not a warning.
  bool strict = false;
  /// Tensors that are known to be used in another way, such as the parts of quantized weights.
  std::unordered_set<const TensorInfo*> used = {};
};

struct TensorMatch {
  /// Every expected path: where its bytes are; nullptr for one that may be absent and is. Of tied
  /// tensors the absent ones point to what a present one has. Points into the checkpoint.
  std::unordered_map<std::string, const TensorInfo*> tensors;
  /// Names in the checkpoint that nobody expects, without the leftovers that many files carry.
  std::vector<std::string> unexpected;
  /// {tied_to, path} of tied tensors that the checkpoint has twice. transformers 5 ties them where
  /// the bytes are equal, and else keeps both and warns; same_bytes() tells.
  std::vector<std::pair<std::string, std::string>> stored_twice;
  /// One text about `unexpected` for the user; empty where there is nothing to say.
  std::string warning;

  /// The bytes of an expected path; nullptr where they are absent. Throws ArgumentError for a path
  /// that was not expected.
  const TensorInfo* at(const std::string& path) const;
};

/// Throws one FormatError that lists every required tensor that is missing, every tensor whose
/// shape is not the expected one and every parameter whose type is not a float, with `strict` also
/// every unexpected tensor. Reads no weights.
TensorMatch match_checkpoint(const Checkpoint& checkpoint,
                             const std::vector<ExpectedTensor>& expected,
                             const MatchOptions& options = {});

/// Type, shape and bytes are equal. Reads both tensors, a piece at a time. Throws FileError.
bool same_bytes(const Checkpoint& checkpoint, const TensorInfo& a, const TensorInfo& b);

/// A tensor that old versions of transformers saved and nobody needs: rotary_emb.inv_freq, causal
/// masks (attn.bias of four dimensions, attn.masked_bias), position_ids.
bool is_known_leftover(const TensorInfo& info);

}  // namespace shoehorn
