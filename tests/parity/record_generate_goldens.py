"""Records what transformers generates with the tiny Llama of tests/data: a padded batch, beams, rules
and log-probabilities. Rewrites tests/data/tiny-llama/generate.json.

    python record_generate_goldens.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from reference import load, versions
from transformers import GenerationConfig

FOLDER = Path(__file__).parent.parent / "data" / "tiny-llama"
PROMPTS = [[1, 5, 9], [1, 7, 3, 22, 9, 40, 12], [1]]
CASES = {
    "greedy": {"max_new_tokens": 8},
    "rules": {"max_new_tokens": 12, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2,
              "suppress_tokens": [3, 4, 5]},
    "beams": {"max_new_tokens": 8, "num_beams": 4, "num_return_sequences": 3},
    "beams_length": {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3,
                     "length_penalty": 2.0, "early_stopping": "never", "no_repeat_ngram_size": 1},
    "prompt_rules": {"max_new_tokens": 12, "encoder_repetition_penalty": 3.0,
                     "encoder_no_repeat_ngram_size": 1},
    "beams_renormalized": {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3,
                           "repetition_penalty": 1.6, "renormalize_logits": True},
    # Two tokens of each beam stay, and as many as that are drawn: nothing is left to chance.
    "beams_sampled": {"max_new_tokens": 8, "num_beams": 4, "num_return_sequences": 4,
                      "do_sample": True, "top_k": 1, "temperature": 0.7},
    "beams_sampled_renormalized": {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3,
                                   "do_sample": True, "top_k": 1, "temperature": 1.4,
                                   "renormalize_logits": True},
}  # fmt: skip


@torch.inference_mode()
def run(model, prompts: list[list[int]], config: dict) -> dict:
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(
        ids,
        attention_mask=mask,
        generation_config=GenerationConfig(
            pad_token_id=0, output_scores=True, output_logits=True, return_dict_in_generate=True,
            **{"do_sample": False, **config},
        ),
    )  # fmt: skip
    result = {"ids": out.sequences[:, width:].tolist()}
    if "num_beams" in config:
        result["scores"] = out.sequences_scores.tolist()
    else:
        rows = torch.stack(out.logits, dim=1).log_softmax(-1)
        chosen = rows.gather(-1, out.sequences[:, width:, None])[..., 0]
        result["logprobs"] = [[round(x, 5) for x in row] for row in chosen.tolist()]
    return result


def main() -> None:
    model = load(FOLDER)
    model.generation_config.eos_token_id = None
    # Rules count pads as part of the text: prompts of one length there, and beams one by one.
    cases = [{"name": "greedy", "prompts": PROMPTS, "config": CASES["greedy"]}]
    for name in list(CASES)[1:]:
        cases += [{"name": name, "prompts": [p], "config": CASES[name]} for p in PROMPTS[:2]]
    for case in cases:
        case |= run(model, case["prompts"], case["config"])
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"versions": {json.dumps(versions())},\n"cases": [\n{lines}\n]}}\n'
    (FOLDER / "generate.json").write_text(text)


if __name__ == "__main__":
    main()
