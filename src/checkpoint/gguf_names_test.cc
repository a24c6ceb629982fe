#include "checkpoint/gguf_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn::gguf {
namespace {

std::string llama_name(std::string_view gguf_name) {
  const auto name = hugging_face_name(architecture_named("llama", "m.gguf"), gguf_name);
  return name ? name->name : "none";
}

TEST(HuggingFaceName, TranslatesModulesOutsideLayers) {
  EXPECT_EQ(llama_name("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(llama_name("output_norm.weight"), "model.norm.weight");
  EXPECT_EQ(llama_name("output.weight"), "lm_head.weight");
}

TEST(HuggingFaceName, TranslatesModulesOfLayers) {
  EXPECT_EQ(llama_name("blk.0.attn_norm.weight"), "model.layers.0.input_layernorm.weight");
  EXPECT_EQ(llama_name("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
  EXPECT_EQ(llama_name("blk.3.attn_output.weight"), "model.layers.3.self_attn.o_proj.weight");
  EXPECT_EQ(llama_name("blk.3.ffn_norm.weight"), "model.layers.3.post_attention_layernorm.weight");
  EXPECT_EQ(llama_name("blk.101.ffn_down.weight"), "model.layers.101.mlp.down_proj.weight");
}

TEST(HuggingFaceName, SaysWhichRowsAreInterleaved) {
  const Architecture& llama = architecture_named("llama", "m.gguf");
  EXPECT_EQ(hugging_face_name(llama, "blk.0.attn_q.weight")->layout, Layout::kQueryRows);
  EXPECT_EQ(hugging_face_name(llama, "blk.0.attn_k.bias")->layout, Layout::kKeyValueRows);
  EXPECT_EQ(hugging_face_name(llama, "blk.0.attn_v.weight")->layout, Layout::kSame);
}

TEST(HuggingFaceName, KnowsNothingElse) {
  for (const char* name :
       {"", ".weight", "token_embd", "token_embd.scale", "blk.weight", "blk.0.weight",
        "blk.x.attn_q.weight", "blk.00.attn_q.weight", "blk.01.attn_q.weight",
        "blk.-1.attn_q.weight", "blk.0attn_q.weight", "blk.99999999999999999999.attn_q.weight",
        "blk.0.ffn_gate_exps.weight", "blk.0.token_embd.weight", "attn_q.weight"}) {
    EXPECT_EQ(llama_name(name), "none") << name;
  }
}

// As gguf's TensorNameMap has them.
TEST(HuggingFaceName, KnowsTheKinOfLlama) {
  const auto name_in = [](const char* architecture, std::string_view gguf_name) {
    const auto name = hugging_face_name(architecture_named(architecture, "m.gguf"), gguf_name);
    EXPECT_EQ(name ? name->layout : Layout::kSame, Layout::kSame) << gguf_name;
    return name ? name->name : "none";
  };
  EXPECT_EQ(name_in("qwen2", "blk.1.attn_q.bias"), "model.layers.1.self_attn.q_proj.bias");
  EXPECT_EQ(name_in("qwen3", "blk.1.attn_k_norm.weight"), "model.layers.1.self_attn.k_norm.weight");
  EXPECT_EQ(name_in("gemma", "blk.1.ffn_norm.weight"),
            "model.layers.1.post_attention_layernorm.weight");
  EXPECT_EQ(name_in("gemma2", "blk.1.ffn_norm.weight"),
            "model.layers.1.pre_feedforward_layernorm.weight");
  EXPECT_EQ(name_in("gemma3", "blk.1.post_ffw_norm.weight"),
            "model.layers.1.post_feedforward_layernorm.weight");
  EXPECT_EQ(name_in("gemma3", "blk.1.post_attention_norm.weight"),
            "model.layers.1.post_attention_layernorm.weight");
  EXPECT_EQ(name_in("phi3", "blk.1.ffn_up.weight"), "model.layers.1.mlp.gate_up_proj.weight");
  EXPECT_EQ(name_in("phi3", "blk.1.attn_qkv.weight"), "model.layers.1.self_attn.qkv_proj.weight");
  EXPECT_EQ(name_in("starcoder2", "blk.1.ffn_down.bias"), "model.layers.1.mlp.c_proj.bias");
}

TEST(HuggingFaceName, TellsTablesOfOneNameApartByTheirTensors) {
  const auto name_in = [](const char* architecture, bool marked, std::string_view gguf_name) {
    const auto name = hugging_face_name(
        architecture_named(architecture, "m.gguf", [&](std::string_view) { return marked; }),
        gguf_name);
    return name ? name->name : "none";
  };
  EXPECT_EQ(name_in("falcon", false, "blk.1.attn_norm.weight"),
            "transformer.h.1.input_layernorm.weight");
  EXPECT_EQ(name_in("falcon", true, "blk.1.attn_norm.weight"), "transformer.h.1.ln_mlp.weight");
  EXPECT_EQ(name_in("falcon", true, "blk.1.attn_norm_2.bias"), "transformer.h.1.ln_attn.bias");
  EXPECT_EQ(name_in("llama", true, "blk.1.ffn_gate_inp.weight"),
            "model.layers.1.block_sparse_moe.gate.weight");
  EXPECT_EQ(name_in("llama", false, "blk.1.ffn_gate_inp.weight"), "none");
}

TEST(HuggingFaceName, NumbersExpertsInEitherForm) {
  const Architecture& mixtral =
      architecture_named("llama", "m.gguf", [](std::string_view) { return true; });
  EXPECT_EQ(hugging_face_name(mixtral, "blk.1.ffn_down_exps.weight")->name,
            "model.layers.1.block_sparse_moe.experts.*.w2.weight");
  EXPECT_EQ(hugging_face_name(mixtral, "blk.1.ffn_gate.12.weight")->name,
            "model.layers.1.block_sparse_moe.experts.12.w1.weight");
  for (const char* name :
       {"blk.1.ffn_gate.*.weight", "blk.1.ffn_gate..weight", "blk.1.ffn_gate.01.weight",
        "blk.1.ffn_gate.1x.weight", "blk.1.ffn_gate.weight"}) {
    EXPECT_FALSE(hugging_face_name(mixtral, name)) << name;
  }
}

TEST(HuggingFaceName, SaysHowOlderArchitecturesStoreTheirMatrices) {
  const Architecture& gpt2 = architecture_named("gpt2", "m.gguf");
  EXPECT_EQ(hugging_face_name(gpt2, "blk.0.attn_qkv.weight")->name,
            "transformer.h.0.attn.c_attn.weight");
  EXPECT_EQ(hugging_face_name(gpt2, "blk.0.attn_qkv.weight")->layout, Layout::kTransposed);
  EXPECT_EQ(hugging_face_name(gpt2, "position_embd.weight")->name, "transformer.wpe.weight");
  const Architecture& falcon = architecture_named("falcon", "m.gguf");
  EXPECT_EQ(hugging_face_name(falcon, "blk.0.attn_qkv.weight")->layout, Layout::kGroupedQkv);
}

TEST(ArchitectureNamed, ListsWhatItKnows) {
  EXPECT_THAT(testing::message_of<UnsupportedError>([] { architecture_named("mamba", "m.gguf"); }),
              ::testing::HasSubstr("m.gguf: general.architecture is mamba; supported GGUF "
                                   "architectures are llama"));
}

}  // namespace
}  // namespace shoehorn::gguf
