#!/usr/bin/env python3
"""Records what transformers' generate does with given logits, into logits_processor.json (scores
that a first step draws from) and generate.json (ids of whole greedy generations).

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
]
PROMPT = [5, 11, 5, 3, 17]

GREEDY = [
    ("plain", 48, 2**16, {"max_new_tokens": 12}),
    ("penalty", 48, 2**16, {"max_new_tokens": 12, "repetition_penalty": 1.5}),
    ("strong_penalty", 48, 2**16, {"max_new_tokens": 40, "repetition_penalty": 5.0}),
    ("ties", 48, 4, {"max_new_tokens": 12}),
    ("ties_penalty", 48, 4, {"max_new_tokens": 12, "repetition_penalty": 1.1}),
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
                        ("generate.json", generations)]:
        lines = ",\n".join(json.dumps(case) for case in cases)
        text = f'{{"versions": {json.dumps(versions)},\n"cases": [\n{lines}\n]}}\n'
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
