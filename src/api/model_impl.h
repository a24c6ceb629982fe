// What a Model holds, for the files of this folder.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shoehorn/model.h"

#include "api/prepare.h"
#include "generate/generation_config.h"
#include "model/loaded_model.h"

namespace shoehorn {

struct Model::Impl {
  std::unique_ptr<const LoadedModel> loaded;
  std::unique_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<const Model> draft;  // null where none was asked for
  std::string speculation_obstacle;    // why nothing may be guessed; empty where it may
  std::string adapters_key;            // a line for each adapter
  ModuleTree tree;
  GenerationConfig generation_config;
  HfDeviceMap hf_device_map;
  Plan plan;
  std::string plan_text;
  std::string plan_json;
  RunShape shape;
  double load_s = 0;

  /// True if a CUDA device computes the draft model's logits.
  bool draft_on_card() const { return draft && draft->impl_->loaded->head_on_card(); }

  /// A pass that gives each session its ids. Throws ArgumentError where that makes no sense.
  static std::vector<BatchSequence> sequences(const Impl& model, std::span<Session* const> sessions,
                                              std::span<const std::span<const std::int32_t>> ids);
};

}  // namespace shoehorn
