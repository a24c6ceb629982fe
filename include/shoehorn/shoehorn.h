// Start here.
//
//   #include <shoehorn/shoehorn.h>
//   const auto model = shoehorn::from_pretrained("SmolLM2-135M-Instruct");
//   std::cout << model.hf_device_map() << '\n';
//   for (const auto& piece : model.generate("Once upon a time", {.max_new_tokens = 64})) {
//     std::cout << piece << std::flush;
//   }
//
//   options.h      what may be asked for; quantization.h the part about 8 and 4 bits
//   model.h        from_pretrained, Model, Session
//   generation.h   text as it comes
//   plan.h         where everything would go
//   cache.h        weights kept for the next run
//   convert.h      a plain safetensors folder of any checkpoint
//   quantize.h     a folder in 8 or 4 bits that transformers opens
//   inspect.h      what is in a checkpoint
//   tokenizer.h    text to ids and back; detokenizer.h id by id
//   logits_file.h  logits as safetensors files
//   chat.h         conversations; chat_template.h messages to prompts
//   pull.h         models from the hub
//   machine.h      what this machine can do
//   error.h        what is thrown
#pragma once

#include "shoehorn/cache.h"
#include "shoehorn/chat.h"
#include "shoehorn/chat_template.h"
#include "shoehorn/convert.h"
#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"
#include "shoehorn/generation.h"
#include "shoehorn/inspect.h"
#include "shoehorn/logits_file.h"
#include "shoehorn/machine.h"
#include "shoehorn/model.h"
#include "shoehorn/options.h"
#include "shoehorn/plan.h"
#include "shoehorn/pull.h"
#include "shoehorn/quantization.h"
#include "shoehorn/quantize.h"
#include "shoehorn/tokenizer.h"
