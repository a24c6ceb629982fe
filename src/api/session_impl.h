// What a Session holds, for the files of this folder.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "shoehorn/model.h"

#include "model/loaded_model.h"

namespace shoehorn {

struct Session::Impl {
  const LoadedModel* model = nullptr;
  std::unique_ptr<KvCache> kv;
  std::vector<std::int32_t> positions;  // scratch
  std::vector<float> logits;            // of the last id
  const std::atomic<bool>* cancelled = nullptr;

  /// `ids` as the next tokens; the positions are this session's scratch.
  BatchSequence sequence(std::span<const std::int32_t> ids, BatchSequence::Logits wanted);
  /// Runs ids; `logits` gets [ids.size() or 1, vocab_size].
  void run(std::span<const std::int32_t> ids, BatchSequence::Logits wanted,
           std::span<float> logits);
};

}  // namespace shoehorn
