// What a Model holds, for the files of this folder.
#pragma once

#include <memory>
#include <string>

#include "shoehorn/model.h"

#include "api/prepare.h"
#include "generate/generation_config.h"
#include "model/loaded_model.h"

namespace shoehorn {

struct Model::Impl {
  std::unique_ptr<const LoadedModel> loaded;
  std::unique_ptr<const Tokenizer> tokenizer;
  ModuleTree tree;
  GenerationConfig generation_config;
  HfDeviceMap hf_device_map;
  Plan plan;
  std::string plan_text;
  std::string plan_json;
  RunShape shape;
  double load_s = 0;
};

}  // namespace shoehorn
