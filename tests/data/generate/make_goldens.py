#!/usr/bin/env python3
"""Records what transformers' generate does with given logits, into logits_processor.json (scores
that a first step draws from), beam_processor.json (those of sampled beams), generate.json (ids of whole greedy generations) and beams.json (ids
and scores of beam searches).

    pip install torch transformers
    python make_goldens.py

The model is a table: the logits after a token depend on that token alone and follow a formula that
the C++ tests repeat exactly (every value is a multiple of 2^-16 and fits float32).
"""

import functools
import json
import pathlib

import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

HERE = pathlib.Path(__file__).parent

# Which of equal logits top-p drops first is the order of torch.sort, which torch leaves open (and
# which differs with the length); recorded with its stable order.
torch.sort = functools.partial(torch.sort, stable=True)


def formula(previous, vocab, distinct):
    """distinct: how many values occur; few make ties."""
    values = []
    for i in range(vocab):
        h = ((previous * vocab + i + 1) * 2654435761) % 2**32
        values.append((h * distinct >> 32) * 16.0 / distinct - 8.0)
    return torch.tensor(values, dtype=torch.float32)


class TableConfig(PretrainedConfig):
    model_type = "table"


class Table(PreTrainedModel, GenerationMixin):
    config_class = TableConfig

    def __init__(self, config, row):
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.row = row

    def forward(self, input_ids, **kwargs):
        return CausalLMOutput(logits=torch.stack([torch.stack([self.row(int(t)) for t in ids])
                                                  for ids in input_ids]))

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids[:, -1:]}


def table(vocab, distinct):
    rows = {}

    def row(token):
        if token not in rows:
            rows[token] = formula(token, vocab, distinct)
        return rows[token].clone()

    return Table(TableConfig(vocab_size=vocab), row)


def scores(case):
    model = table(case["vocab"], case["distinct"])
    out = model.generate(
        torch.tensor([case["prompt"]]),
        generation_config=GenerationConfig(
            do_sample=True, max_new_tokens=1, pad_token_id=0, use_cache=False,
            output_scores=True, return_dict_in_generate=True, **case["config"]))
    row = out.scores[0][0]
    kept = torch.nonzero(row > float("-inf")).flatten()
    return {**case, "ids": kept.tolist(), "logits": [float(row[i]) for i in kept]}


def greedy(case):
    model = table(case["vocab"], case["distinct"])
    out = model.generate(
        torch.tensor([case["prompt"]]),
        generation_config=GenerationConfig(do_sample=False, pad_token_id=0, use_cache=False,
                                           **case["config"]))
    return {**case, "ids": out[0][len(case["prompt"]):].tolist()}


def beams(case):
    model = table(case["vocab"], case["distinct"])
    out = model.generate(
        torch.tensor([case["prompt"]]),
        generation_config=GenerationConfig(
            pad_token_id=0, use_cache=False, output_scores=True, return_dict_in_generate=True,
            **{"do_sample": False, **case["config"]}))
    length = len(case["prompt"])
    # Rows that ended earlier are padded.
    made = [(row >= 0).sum().item() for row in out.beam_indices]
    ids = [row[length:length + n].tolist() for row, n in zip(out.sequences, made)]
    return {**case, "ids": ids, "scores": out.sequences_scores.tolist()}


ALL = {"top_k": 0}  # transformers' default is 50
SCORES = [
    ("defaults", 300, 2**16, {}),
    ("temperature", 64, 2**16, {**ALL, "temperature": 0.7}),
    ("hot", 64, 2**16, {**ALL, "temperature": 3.0}),
    ("penalty", 64, 2**16, {**ALL, "repetition_penalty": 1.3}),
    ("reward", 64, 2**16, {**ALL, "repetition_penalty": 0.8}),
    ("top_k_1", 64, 2**16, {"top_k": 1}),
    ("top_k_7", 64, 2**16, {"top_k": 7}),
    ("top_k_ties", 64, 8, {"top_k": 3}),
    ("top_k_more_than_vocab", 20, 2**16, {"top_k": 50}),
    ("top_k_ties_after_temperature", 300, 2**16, {"top_k": 5, "temperature": 0.1}),
    ("top_p_90", 64, 2**16, {**ALL, "top_p": 0.9, "temperature": 2.0}),
    ("top_p_50", 64, 2**16, {**ALL, "top_p": 0.5, "temperature": 4.0}),
    ("top_p_0", 64, 2**16, {**ALL, "top_p": 0.0}),
    ("top_p_1", 64, 2**16, {**ALL, "top_p": 1.0}),
    ("top_p_ties", 64, 4, {**ALL, "top_p": 0.6}),
    ("top_p_all_equal", 64, 1, {**ALL, "top_p": 0.7}),
    ("min_p_10", 64, 2**16, {**ALL, "min_p": 0.1, "temperature": 2.0}),
    ("min_p_0", 64, 2**16, {**ALL, "min_p": 0.0}),
    ("min_p_1", 64, 2**16, {**ALL, "min_p": 1.0}),
    ("min_p_ties", 64, 8, {**ALL, "min_p": 0.5, "temperature": 2.0}),
    ("all_of_them", 300, 2**16, {"temperature": 1.7, "top_k": 40, "top_p": 0.8, "min_p": 0.05,
                                 "repetition_penalty": 1.2}),
    ("order_of_top_k_and_top_p", 300, 2**16, {"temperature": 5.0, "top_k": 10, "top_p": 0.5}),
    ("order_of_temperature_and_top_p", 300, 2**16, {**ALL, "temperature": 0.3, "top_p": 0.95}),
    ("large_top_k", 50000, 2**16, {"top_k": 20}),
    ("large_top_p", 50000, 2**16, {**ALL, "top_p": 0.02, "temperature": 2.0}),
    ("large_top_k_ties", 50000, 400, {"top_k": 20}),
    ("prompt_outside_vocab", 10, 2**16, {**ALL, "repetition_penalty": 1.5}),
    ("large_min_p", 50000, 2**16, {**ALL, "min_p": 0.99}),
    ("typical_90", 64, 2**16, {**ALL, "typical_p": 0.9, "temperature": 2.0}),
    ("typical_20", 300, 2**16, {**ALL, "typical_p": 0.2, "temperature": 3.0}),
    ("typical_ties", 64, 8, {**ALL, "typical_p": 0.5, "temperature": 2.0}),
    ("typical_after_top_k", 300, 2**16, {"typical_p": 0.5, "top_k": 30, "temperature": 4.0}),
    ("epsilon", 64, 2**16, {**ALL, "epsilon_cutoff": 0.02, "temperature": 3.0}),
    ("epsilon_above_all", 64, 1, {**ALL, "epsilon_cutoff": 0.5}),
    ("eta", 64, 2**16, {**ALL, "eta_cutoff": 0.02, "temperature": 3.0}),
    ("eta_sharp", 64, 2**16, {**ALL, "eta_cutoff": 0.3, "temperature": 0.5}),
    ("every_cutoff", 300, 2**16, {"temperature": 4.0, "top_k": 80, "top_p": 0.95, "min_p": 0.02,
                                  "typical_p": 0.9, "epsilon_cutoff": 0.004, "eta_cutoff": 0.01}),
    ("top_h", 64, 2**16, {**ALL, "top_h": 0.4, "temperature": 2.0}),
    ("top_h_sharp", 64, 2**16, {**ALL, "top_h": 0.05, "temperature": 0.3}),
    ("top_h_of_100", 5000, 2**16, {**ALL, "top_h": 0.9, "temperature": 4.0}),
    ("top_h_before_top_k", 300, 2**16, {"top_h": 0.5, "top_k": 8, "temperature": 4.0}),
    ("sequence_bias", 64, 2**16, {**ALL, "sequence_bias": [[[7], 2.5], [[17, 8], -3.0], [[3, 17, 8], 1.25],
                                                           [[4, 17, 10], 9.0], [[5, 11, 5, 3, 17, 9], 4.0]],
                                  "repetition_penalty": 1.3}),
    ("suppressed", 64, 2**16, {**ALL, "suppress_tokens": [1, 2, 3, 63],
                               "begin_suppress_tokens": [10, 11]}),
    ("bad_words", 64, 2**16, {**ALL, "bad_words_ids": [[7], [17, 8], [3, 17, 9], [4, 17, 10]]}),
    ("no_repeat", 64, 2**16, {**ALL, "no_repeat_ngram_size": 1}),
    ("encoder_penalty", 64, 2**16, {**ALL, "encoder_repetition_penalty": 1.7, "repetition_penalty": 1.3}),
    ("encoder_no_repeat", 64, 2**16, {**ALL, "encoder_no_repeat_ngram_size": 1}),
    ("min_length", 64, 2**16, {**ALL, "min_length": 6, "eos_token_id": [3, 9]}),
    ("min_length_reached", 64, 2**16, {**ALL, "min_length": 5, "eos_token_id": [3, 9]}),
]
# The same of beams: log-probabilities, and no warper leaves fewer than two of them (more where more end).
SAMPLED = {**ALL, "num_beams": 2}
BEAM_SCORES = [
    ("beams_temperature", 64, 2**16, {**SAMPLED, "temperature": 0.7}),
    ("beams_top_k", 64, 2**16, {"num_beams": 3, "top_k": 1, "eos_token_id": [3, 9, 11]}),
    ("beams_top_p", 64, 2**16, {**SAMPLED, "top_p": 0.01}),
    ("beams_top_p_eos", 64, 2**16, {**SAMPLED, "top_p": 0.3, "eos_token_id": [3, 9, 11]}),
    ("beams_min_p", 64, 2**16, {**SAMPLED, "min_p": 1.0, "eos_token_id": [3, 9]}),
    ("beams_typical", 64, 2**16, {**SAMPLED, "typical_p": 0.01, "eos_token_id": [3, 9]}),
    ("beams_epsilon", 64, 2**16, {**SAMPLED, "epsilon_cutoff": 0.9, "eos_token_id": [3, 9]}),
    ("beams_eta", 64, 2**16, {**SAMPLED, "eta_cutoff": 0.9, "temperature": 0.2}),
    ("beams_top_h", 64, 2**16, {**SAMPLED, "top_h": 0.3, "temperature": 2.0}),
    ("beams_rules", 64, 2**16, {**SAMPLED, "repetition_penalty": 1.3, "temperature": 2.0, "top_p": 0.9,
                                "encoder_repetition_penalty": 1.2}),
]
PROMPT = [5, 11, 5, 3, 17]

GREEDY = [
    ("plain", 48, 2**16, {"max_new_tokens": 12}),
    ("penalty", 48, 2**16, {"max_new_tokens": 12, "repetition_penalty": 1.5}),
    ("strong_penalty", 48, 2**16, {"max_new_tokens": 40, "repetition_penalty": 5.0}),
    ("ties", 48, 4, {"max_new_tokens": 12}),
    ("ties_penalty", 48, 4, {"max_new_tokens": 12, "repetition_penalty": 1.1}),
    ("bigrams", 16, 2**16, {"max_new_tokens": 40, "no_repeat_ngram_size": 2}),
    ("trigrams", 8, 2**16, {"max_new_tokens": 40, "no_repeat_ngram_size": 3}),
    ("forced_eos", 48, 2**16, {"max_new_tokens": 7, "forced_eos_token_id": 13}),
    ("bias", 48, 2**16, {"max_new_tokens": 20, "sequence_bias": [[[13], 5.0], [[13, 4], 9.5], [[4, 13], -30.0]]}),
    ("encoder_penalty", 48, 2**16, {"max_new_tokens": 20, "encoder_repetition_penalty": 4.0}),
    ("encoder_bigrams", 8, 2**16, {"max_new_tokens": 20, "encoder_no_repeat_ngram_size": 2}),
    ("invalid_removed", 48, 2**16, {"max_new_tokens": 12, "remove_invalid_values": True,
                                    "no_repeat_ngram_size": 1}),
    ("decay", 48, 2**16, {"max_new_tokens": 40, "eos_token_id": [4, 29], "repetition_penalty": 5.0,
                          "exponential_decay_length_penalty": [9, 1.2]}),
    ("suppressed", 48, 2**16, {"max_new_tokens": 12, "suppress_tokens": list(range(20, 48)),
                               "begin_suppress_tokens": [0, 1, 2, 3, 4, 5]}),
]

RETURN_3 = {"max_new_tokens": 12, "num_beams": 4, "num_return_sequences": 3}
DRAWN = {"max_new_tokens": 10, "do_sample": True, "top_k": 1, "temperature": 0.8}
BEAMS = [
    ("two", 48, 2**16, {"max_new_tokens": 8, "num_beams": 2}),
    ("four_all_returned", 48, 2**16,
     {"max_new_tokens": 10, "num_beams": 4, "num_return_sequences": 4}),
    ("eos", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 20, 0]}),
    ("eos_first", 24, 2**16, {**RETURN_3, "eos_token_id": [23, 10]}),
    ("eos_early", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 20, 0], "early_stopping": True}),
    ("eos_never", 48, 2**16, {**RETURN_3, "eos_token_id": 19, "early_stopping": "never"}),
    ("long", 48, 2**16, {**RETURN_3, "eos_token_id": [40, 19], "length_penalty": 2.0}),
    ("long_never", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 13], "length_penalty": 0.5,
                               "early_stopping": "never"}),
    ("short", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 20, 0], "length_penalty": -1.0}),
    ("no_length", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 20, 0], "length_penalty": 0.0}),
    ("renormalized", 24, 2**16, {**RETURN_3, "eos_token_id": [10, 20, 0], "repetition_penalty": 1.5,
                                 "renormalize_logits": True}),
    # Two tokens of each beam stay, and as many as that are drawn: nothing is left to chance.
    ("sampled_two", 48, 2**16, {**DRAWN, "num_beams": 2}),
    ("sampled_four", 48, 2**16, {**DRAWN, "num_beams": 4, "num_return_sequences": 4}),
    ("sampled_eos", 24, 2**16, {**DRAWN, "num_beams": 4, "num_return_sequences": 3, "eos_token_id": 10}),
    ("sampled_renormalized", 48, 2**16, {**DRAWN, "num_beams": 3, "num_return_sequences": 3,
                                         "renormalize_logits": True}),
    ("rules", 24, 2**16, {"max_new_tokens": 16, "num_beams": 5, "num_return_sequences": 2,
                          "eos_token_id": 10, "min_new_tokens": 5, "no_repeat_ngram_size": 2,
                          "repetition_penalty": 1.2, "bad_words_ids": [[3], [5, 6]]}),
]


def main():
    def named(rows):
        return [{"name": n, "vocab": v, "distinct": d, "prompt": PROMPT, "config": c}
                for n, v, d, c in rows]

    generations = [greedy(case) for case in named(GREEDY)]
    # The same, ended by a token that comes up in the middle; a list of them.
    plain = next(case for case in generations if case["name"] == "strong_penalty")
    for name, eos in [("eos", plain["ids"][6]), ("eos_list", [plain["ids"][20], plain["ids"][9]])]:
        generations.append(greedy({"name": name, "vocab": 48, "distinct": 2**16, "prompt": PROMPT,
                                   "config": {**plain["config"], "eos_token_id": eos}}))

    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    for name, cases in [("logits_processor.json", [scores(case) for case in named(SCORES)]),
                        ("beam_processor.json", [scores(case) for case in named(BEAM_SCORES)]),
                        ("generate.json", generations),
                        ("beams.json", [beams(case) for case in named(BEAMS)])]:
        lines = ",\n".join(json.dumps(case) for case in cases)
        text = f'{{"versions": {json.dumps(versions)},\n"cases": [\n{lines}\n]}}\n'
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
