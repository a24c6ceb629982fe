#include "checkpoint/gguf_config.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_rope_factors.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_gguf.h"

namespace shoehorn::gguf {
namespace {

using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::llama_builder;
using testing::message_of;

Metadata metadata_of(const GgufBuilder& builder) {
  const std::string file = builder.build();
  return read_header(source_of("model.gguf", testing::as_bytes(file))).metadata;
}

nlohmann::json config_of(const GgufBuilder& builder, const ConfigTensors& tensors = {}) {
  return nlohmann::json::parse(config_json(metadata_of(builder), tensors));
}

std::string unsupported_config(const GgufBuilder& builder, const ConfigTensors& tensors = {}) {
  const Metadata metadata = metadata_of(builder);
  return message_of<UnsupportedError>([&] { config_json(metadata, tensors); });
}

std::string format_error(const GgufBuilder& builder) {
  const Metadata metadata = metadata_of(builder);
  return message_of<FormatError>([&] { config_json(metadata, {}); });
}

TensorInfo tensor(std::string name, Shape shape, DType dtype = DType::kF32) {
  TensorInfo info;
  info.name = std::move(name);
  info.dtype = dtype;
  info.shape = shape;
  return info;
}

/// A file of another architecture with the keys that all have.
GgufBuilder kin_builder(const std::string& name) {
  GgufBuilder builder;
  builder.string("general.architecture", name)
      .uint32(name + ".context_length", 64)
      .uint32(name + ".embedding_length", 32)
      .uint32(name + ".block_count", 2)
      .uint32(name + ".feed_forward_length", 48)
      .uint32(name + ".attention.head_count", 4)
      .uint32(name + ".vocab_size", 100);
  const bool is_layer_norm = name == "starcoder2" || name == "gpt2" || name == "falcon";
  builder.float32(name + (is_layer_norm ? ".attention.layer_norm_epsilon"
                                        : ".attention.layer_norm_rms_epsilon"),
                  1e-5F);
  return builder;
}

TEST(ConfigJson, NamesTheKinOfLlama) {
  const nlohmann::json qwen3 =
      config_of(kin_builder("qwen3").uint32("qwen3.attention.key_length", 16));
  EXPECT_EQ(qwen3["model_type"], "qwen3");
  EXPECT_EQ(qwen3["architectures"][0], "Qwen3ForCausalLM");
  EXPECT_EQ(qwen3["head_dim"], 16);
  EXPECT_EQ(qwen3["hidden_act"], "silu");
  const nlohmann::json starcoder2 = config_of(kin_builder("starcoder2"));
  EXPECT_EQ(starcoder2["model_type"], "starcoder2");
  EXPECT_NEAR(starcoder2["norm_epsilon"].get<double>(), 1e-5, 1e-10);
  EXPECT_EQ(starcoder2["use_bias"], false);
}

TEST(ConfigJson, SaysOfGemmaWhatItsFileMeans) {
  GgufBuilder builder = kin_builder("gemma2");
  builder.uint32("gemma2.attention.key_length", 16)
      .uint32("gemma2.attention.sliding_window", 8)
      .float32("gemma2.attn_logit_softcapping", 50.0F)
      .float32("gemma2.final_logit_softcapping", 30.0F);
  const nlohmann::json config = config_of(builder);
  EXPECT_EQ(config["model_type"], "gemma2");
  EXPECT_EQ(config["norm_weights_include_one"], true);
  EXPECT_EQ(config["query_pre_attn_scalar"], 16);
  EXPECT_EQ(config["sliding_window"], 8);
  EXPECT_EQ(config["attn_logit_softcapping"], 50.0);
  EXPECT_EQ(config["final_logit_softcapping"], 30.0);
  EXPECT_EQ(config["hidden_activation"], "gelu_pytorch_tanh");
  EXPECT_EQ(config_of(kin_builder("gemma2"))["attn_logit_softcapping"], 50.0);
  EXPECT_EQ(config_of(kin_builder("gemma2"))["final_logit_softcapping"], 30.0);
  const nlohmann::json gemma3 = config_of(kin_builder("gemma3"));
  EXPECT_EQ(gemma3["model_type"], "gemma3_text");
  EXPECT_EQ(gemma3["rope_theta"], 1e6);
  EXPECT_EQ(gemma3["rope_local_base_freq"], 10000.0);
  EXPECT_TRUE(gemma3["final_logit_softcapping"].is_null());
}

TEST(ConfigJson, OfPhi3MayRotateAPartOfAHead) {
  GgufBuilder builder = kin_builder("phi3");
  builder.uint32("phi3.rope.dimension_count", 6);
  const nlohmann::json config = config_of(builder);
  EXPECT_EQ(static_cast<int>(8 * config["partial_rotary_factor"].get<double>()), 6);
  EXPECT_TRUE(config["sliding_window"].is_null());
}

TEST(ConfigJson, OfPhi3TakesLongropeFromItsTensors) {
  GgufBuilder builder = kin_builder("phi3");
  builder.uint32("phi3.rope.scaling.original_context_length", 16)
      .float32("phi3.rope.scaling.attn_factor", 1.25F)
      .uint32("phi3.attention.sliding_window", 0);
  const std::vector<float> more = {1.5F, 2.0F, 4.0F, 8.0F};
  const std::vector<float> less = {1.0F, 1.0F, 1.5F, 2.0F};
  const nlohmann::json config = config_of(builder, {.rope_long = more, .rope_short = less});
  EXPECT_EQ(config["original_max_position_embeddings"], 16);
  EXPECT_EQ(config["rope_scaling"]["rope_type"], "longrope");
  EXPECT_EQ(config["rope_scaling"]["long_factor"], nlohmann::json(more));
  EXPECT_EQ(config["rope_scaling"]["short_factor"], nlohmann::json(less));
  EXPECT_EQ(config["rope_scaling"]["attention_factor"], 1.25);
  EXPECT_TRUE(config["sliding_window"].is_null());
  const Metadata metadata = metadata_of(builder);
  EXPECT_THAT(message_of<FormatError>([&] { config_json(metadata, {.rope_long = more}); }),
              HasSubstr("rope_factors_long.weight has 4 values, rope_factors_short.weight 0"));
}

TEST(ConfigJson, OfExpertsInLlamaFilesIsMixtrals) {
  GgufBuilder builder = llama_builder();
  builder.uint32("llama.expert_count", 8).uint32("llama.expert_used_count", 2);
  const nlohmann::json config = config_of(builder);
  EXPECT_EQ(config["model_type"], "mixtral");
  EXPECT_EQ(config["architectures"][0], "MixtralForCausalLM");
  EXPECT_EQ(config["num_local_experts"], 8);
  EXPECT_EQ(config["num_experts_per_tok"], 2);
  const std::vector<TensorInfo> bias = {tensor("model.layers.0.self_attn.q_proj.bias", {32})};
  EXPECT_THAT(unsupported_config(builder, {.tensors = bias}), HasSubstr("attention_bias"));
  EXPECT_THAT(unsupported_config(kin_builder("qwen3").uint32("qwen3.expert_count", 8)),
              HasSubstr("supported mixtures of experts are those of llama files"));
}

TEST(ConfigJson, OfGpt2HasItsOwnKeys) {
  const std::vector<TensorInfo> tensors = {tensor("transformer.wte.weight", {90, 32}),
                                           tensor("transformer.wpe.weight", {40, 32})};
  const nlohmann::json config = config_of(kin_builder("gpt2"), {.tensors = tensors});
  EXPECT_EQ(config["model_type"], "gpt2");
  EXPECT_EQ(config["n_embd"], 32);
  EXPECT_EQ(config["n_inner"], 48);
  EXPECT_EQ(config["n_head"], 4);
  EXPECT_EQ(config["n_positions"], 40);
  EXPECT_EQ(config["vocab_size"], 90);
  EXPECT_EQ(config["tie_word_embeddings"], true);
}

TEST(ConfigJson, OfFalconTellsItsLayoutsApart) {
  const nlohmann::json seven =
      config_of(kin_builder("falcon").uint32("falcon.attention.head_count_kv", 1));
  EXPECT_EQ(seven["model_type"], "falcon");
  EXPECT_EQ(seven["new_decoder_architecture"], false);
  EXPECT_EQ(seven["multi_query"], true);
  GgufBuilder grouped = kin_builder("falcon");
  grouped.uint32("falcon.attention.head_count_kv", 2);
  EXPECT_EQ(config_of(grouped)["new_decoder_architecture"], true);
  EXPECT_EQ(config_of(grouped)["num_kv_heads"], 2);
  EXPECT_EQ(config_of(grouped)["num_ln_in_parallel_attn"], 1);
  const std::vector<TensorInfo> norm = {tensor("transformer.h.0.ln_attn.weight", {32})};
  EXPECT_EQ(config_of(grouped, {.tensors = norm})["num_ln_in_parallel_attn"], 2);
}

TEST(ConfigJson, HasTheKeysOfALlama) {
  GgufBuilder builder = llama_builder();
  builder.uint32("llama.attention.head_count_kv", 2).float32("llama.rope.freq_base", 500000.0F);
  builder.uint32("tokenizer.ggml.bos_token_id", 1).uint32("tokenizer.ggml.eos_token_id", 2);
  const nlohmann::json expected = {
      {"architectures", nlohmann::json::array({"LlamaForCausalLM"})},
      {"model_type", "llama"},
      {"hidden_act", "silu"},
      {"hidden_size", 32},
      {"intermediate_size", 48},
      {"num_hidden_layers", 1},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"head_dim", 8},
      {"max_position_embeddings", 128},
      {"rms_norm_eps", 1e-5},
      {"rope_theta", 500000.0},
      {"rope_scaling", nullptr},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"tie_word_embeddings", true},
      {"vocab_size", 7},
      {"torch_dtype", "float32"},
      {"bos_token_id", 1},
      {"eos_token_id", 2},
  };
  EXPECT_EQ(config_of(builder), expected);
}

TEST(ConfigJson, KeyValueHeadsAreTheQueryHeadsUnlessSaid) {
  EXPECT_EQ(config_of(llama_builder())["num_key_value_heads"], 4);
}

TEST(ConfigJson, TakesVocabularyBiasesAndTiesFromTheTensors) {
  const std::vector<TensorInfo> tensors = {tensor("model.embed_tokens.weight", {9, 32}),
                                           tensor("lm_head.weight", {9, 32}),
                                           tensor("model.layers.0.self_attn.q_proj.bias", {32}),
                                           tensor("model.layers.0.mlp.up_proj.bias", {48})};
  const nlohmann::json config =
      config_of(llama_builder(), {.tensors = tensors, .rope_divisors = {}});
  EXPECT_EQ(config["vocab_size"], 9);
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["attention_bias"], true);
  EXPECT_EQ(config["mlp_bias"], true);
}

TEST(ConfigJson, TorchDtypeIsThatOfMostPlainMatrices) {
  const std::vector<TensorInfo> tensors = {
      tensor("norm", {4000}, DType::kF32), tensor("small", {4, 4}, DType::kF32),
      tensor("large", {4, 9}, DType::kBF16), tensor("blocks", {4, 320}, DType::kQ4_0)};
  EXPECT_EQ(config_of(llama_builder(), {.tensors = tensors, .rope_divisors = {}})["torch_dtype"],
            "bfloat16");
}

TEST(ConfigJson, HeadDimFollowsFromQProjWhereTheFileIsSilent) {
  const std::vector<TensorInfo> tensors = {
      tensor("model.layers.0.self_attn.q_proj.weight", {64, 32})};
  EXPECT_EQ(config_of(llama_builder(), {.tensors = tensors, .rope_divisors = {}})["head_dim"], 16);
}

TEST(ConfigJson, HeadDimIsTheKeyLengthWhereThereIsOne) {
  GgufBuilder builder = llama_builder();
  builder.uint32("llama.attention.key_length", 24).uint32("llama.attention.value_length", 24);
  EXPECT_EQ(config_of(builder)["head_dim"], 24);
}

TEST(ConfigJson, RefusesHeadsThatAreRotatedInPart) {
  GgufBuilder builder = llama_builder();
  builder.uint32("llama.rope.dimension_count", 4);
  EXPECT_THAT(unsupported_config(builder),
              HasSubstr("llama.rope.dimension_count is 4 where a head has 8 values"));
}

TEST(ConfigJson, ReadsLinearScalingOldAndNew) {
  GgufBuilder old_style = llama_builder();
  old_style.float32("llama.rope.scale_linear", 2.0F);
  GgufBuilder new_style = llama_builder();
  new_style.string("llama.rope.scaling.type", "linear").float32("llama.rope.scaling.factor", 2.0F);
  const nlohmann::json expected = {{"rope_type", "linear"}, {"factor", 2.0}};
  EXPECT_EQ(config_of(old_style)["rope_scaling"], expected);
  EXPECT_EQ(config_of(new_style)["rope_scaling"], expected);
}

TEST(ConfigJson, ScalingOfNoneIsNull) {
  GgufBuilder builder = llama_builder();
  builder.string("llama.rope.scaling.type", "none").float32("llama.rope.scaling.factor", 8.0F);
  EXPECT_EQ(config_of(builder)["rope_scaling"], nullptr);
}

TEST(ConfigJson, ReadsYarnScaling) {
  GgufBuilder builder = llama_builder();
  builder.string("llama.rope.scaling.type", "yarn")
      .float32("llama.rope.scaling.factor", 4.0F)
      .uint32("llama.rope.scaling.original_context_length", 32)
      .float32("llama.rope.scaling.yarn_beta_fast", 16.0F);
  const nlohmann::json expected = {{"rope_type", "yarn"},
                                   {"factor", 4.0},
                                   {"original_max_position_embeddings", 32},
                                   {"beta_fast", 16.0}};
  EXPECT_EQ(config_of(builder)["rope_scaling"], expected);
}

TEST(ConfigJson, NamesScalingItDoesNotKnow) {
  GgufBuilder builder = llama_builder();
  builder.string("llama.rope.scaling.type", "longrope").float32("llama.rope.scaling.factor", 4.0F);
  EXPECT_THAT(unsupported_config(builder), HasSubstr("llama.rope.scaling.type is longrope"));
}

TEST(ConfigJson, TurnsRopeDivisorsIntoLlama3Scaling) {
  std::vector<float> divisors;
  for (std::size_t i = 0; i < 4; ++i) {
    const Llama3RopeScaling scaling{8.0, 1.0, 4.0, 64};
    divisors.push_back(static_cast<float>(llama3_divisor(scaling, 10000.0, 8, i)));
  }
  const nlohmann::json expected = {{"rope_type", "llama3"},
                                   {"factor", 8.0},
                                   {"low_freq_factor", 1.0},
                                   {"high_freq_factor", 4.0},
                                   {"original_max_position_embeddings", 64}};
  EXPECT_EQ(config_of(llama_builder(), {.tensors = {}, .rope_divisors = divisors})["rope_scaling"],
            expected);
}

TEST(ConfigJson, DivisorsOfOneAreNoScaling) {
  const std::vector<float> ones(4, 1.0F);
  EXPECT_EQ(config_of(llama_builder(), {.tensors = {}, .rope_divisors = ones})["rope_scaling"],
            nullptr);
}

TEST(ConfigJson, RefusesDivisorsItCannotExplain) {
  const std::vector<float> odd = {1.0F, 5.0F, 2.0F, 3.0F};
  EXPECT_THAT(unsupported_config(llama_builder(), {.tensors = {}, .rope_divisors = odd}),
              HasSubstr("rope_freqs.weight holds divisors"));
}

TEST(ConfigJson, NamesTheMissingKey) {
  GgufBuilder builder;
  builder.string("general.architecture", "llama").uint32("llama.attention.head_count", 4);
  EXPECT_THAT(format_error(builder), HasSubstr("metadata key llama.embedding_length is missing"));
}

TEST(ConfigJson, RefusesSizesOfZero) {
  GgufBuilder builder;
  builder.string("general.architecture", "llama").uint32("llama.attention.head_count", 0);
  EXPECT_THAT(format_error(builder), HasSubstr("llama.attention.head_count: 0 is not between 1"));
}

TEST(HeadsOf, TakesOneCountForAllLayers) {
  GgufBuilder builder;
  builder.string("general.architecture", "llama")
      .int32s("llama.attention.head_count", {8, 8})
      .int32s("llama.attention.head_count_kv", {2, 2});
  const Heads heads = heads_of(metadata_of(builder));
  EXPECT_EQ(heads.query, 8);
  EXPECT_EQ(heads.key_value, 2);
}

TEST(HeadsOf, RefusesCountsThatDifferBetweenLayers) {
  GgufBuilder builder;
  builder.string("general.architecture", "llama").int32s("llama.attention.head_count", {8, 4});
  const Metadata metadata = metadata_of(builder);
  EXPECT_THAT(message_of<UnsupportedError>([&] { heads_of(metadata); }),
              HasSubstr("llama.attention.head_count differs between layers"));
}

TEST(HeadsOf, RefusesHeadsThatDoNotDivide) {
  GgufBuilder builder = llama_builder();
  builder.uint32("llama.attention.head_count_kv", 3);
  EXPECT_THAT(format_error(builder), HasSubstr("4 attention heads do not divide among 3"));
}

TEST(GenerationConfigJson, ListsEveryTokenThatEndsATurn) {
  GgufBuilder builder;
  builder.uint32("tokenizer.ggml.bos_token_id", 1)
      .uint32("tokenizer.ggml.eos_token_id", 2)
      .uint32("tokenizer.ggml.eot_token_id", 9)
      .uint32("tokenizer.ggml.eom_token_id", 2)
      .uint32("tokenizer.ggml.padding_token_id", 0xFFFFFFFF);
  const nlohmann::json expected = {{"bos_token_id", 1}, {"eos_token_id", {2, 9}}};
  EXPECT_EQ(nlohmann::json::parse(generation_config_json(metadata_of(builder))), expected);
}

TEST(GenerationConfigJson, PassesOnRecommendedSampling) {
  GgufBuilder builder;
  builder.float32("general.sampling.temp", 0.7F).uint32("general.sampling.top_k", 20);
  const nlohmann::json expected = {{"do_sample", true}, {"temperature", 0.7}, {"top_k", 20}};
  EXPECT_EQ(nlohmann::json::parse(generation_config_json(metadata_of(builder))), expected);
}

}  // namespace
}  // namespace shoehorn::gguf
