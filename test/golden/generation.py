"""
Makes test/golden/generation/ with transformers' own generate():

    python test/golden/generation.py [model…]          (torch 2.13, transformers 5.23)

search.json          what a model whose scores are a table generates, for many options: tests search and processors without rounding
scores.json          the scores that the logits processors for sampling keep of a row
<model>.json         200 prompts to each tiny random generating checkpoint, greedy and with beams. A prompt is left out if float64, or
                     weights that differ in the seventh digit, give another text, because float32 then does not decide the result
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation import LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.modeling_outputs import CausalLMOutputWithPast

here = Path(__file__).parent / "generation"
V = 40


def table() -> torch.Tensor:
    """Scores of the next token from the last two tokens: whole numbers until the last operation, so that other programs can compute the same; 0 is padding."""
    rows = [[((a * 7919 + b * 104729 + c * 1299709 + 17) * 31337 % 10007) / 10007 * 8 - 4 if c else -30 for c in range(V)] for a in range(V) for b in range(V)]
    return torch.tensor(rows, dtype=torch.float64).float()


class TableConfig(PretrainedConfig):
    model_type = "table"


class TableModel(PreTrainedModel, GenerationMixin):
    config_class = TableConfig
    _supports_cache_class = False

    def __init__(self, config):
        super().__init__(config)
        self.scores = torch.nn.Parameter(table(), requires_grad=False)
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids, "attention_mask": kwargs.get("attention_mask")}

    def forward(self, input_ids, attention_mask=None, return_dict=True, **kwargs):
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], 1)
        return CausalLMOutputWithPast(logits=self.scores[before * V + input_ids])


def searches():
    model = TableModel(TableConfig(vocab_size=V)).eval()
    prompts = [[5], [7, 9, 11], [3, 3, 3, 3], [20, 1, 20, 1, 20], [39, 38, 37, 36, 35, 34, 33], [12, 30]]
    beams = [
        {"num_beams": n, "early_stopping": early, "length_penalty": penalty}
        for n in (2, 4)
        for early in (False, True, "never")
        for penalty in (1.0, 0.0, 2.0, -0.5)
    ]
    options = [
        {},
        {"max_new_tokens": 1},
        {"max_length": 9},
        {"min_new_tokens": 12, "max_new_tokens": 15},
        {"min_length": 10},
        {"repetition_penalty": 1.3},
        {"repetition_penalty": 0.7},
        {"no_repeat_ngram_size": 1, "max_new_tokens": 25},
        {"no_repeat_ngram_size": 2, "max_new_tokens": 40},
        {"no_repeat_ngram_size": 3, "repetition_penalty": 0.8, "max_new_tokens": 40},
        {"eos_token_id": [31, 38, 24]},
        *beams,
        *[{**each, "eos_token_id": [31, 38, 24]} for each in beams[::3]],
        {"num_beams": 3, "repetition_penalty": 1.4, "max_new_tokens": 25},
        {"num_beams": 3, "no_repeat_ngram_size": 2, "max_new_tokens": 25},
        {"num_beams": 3, "min_new_tokens": 9, "max_new_tokens": 12},
        {"num_beams": 4, "num_return_sequences": 4, "early_stopping": True},
        {"num_beams": 5, "num_return_sequences": 3},
        {"num_beams": 20, "max_new_tokens": 6},
    ]
    cases = []
    for each in options:
        full = {"max_new_tokens": 20, "eos_token_id": 2, "pad_token_id": 0, **each}
        if "max_length" in each:
            del full["max_new_tokens"]
        texts = []
        for prompt in prompts:
            ids = torch.tensor([prompt])
            out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=GenerationConfig(use_cache=False, **full))
            for row in out.tolist():
                new = row[len(prompt) :]
                while new and new[-1] == 0:
                    new.pop()
                texts.append(new)
        del full["pad_token_id"]
        cases.append({"options": full, "texts": texts})
    write("search.json", {"prompts": prompts, "cases": cases})


def scores():
    rows = table()[[3, 77, 500]]
    cases = []
    for options in (
        {"temperature": 0.7},
        {"temperature": 1.9, "top_k": 5},
        {"top_k": 1},
        {"top_k": 100},
        {"top_k": 0, "top_p": 0.9},
        {"top_k": 0, "top_p": 0.3},
        {"top_k": 10, "top_p": 0.75, "temperature": 1.3},
        {"top_k": 0, "top_p": 0.0},
        {"top_k": 0, "min_p": 0.2},
        {"top_k": 12, "top_p": 0.95, "min_p": 0.05, "temperature": 1.5},
    ):
        for least in (1, 3):
            steps = LogitsProcessorList()
            if options.get("temperature", 1.0) != 1.0:
                steps.append(TemperatureLogitsWarper(options["temperature"]))
            if options.get("top_k", 50) != 0:
                steps.append(TopKLogitsWarper(options.get("top_k", 50), min_tokens_to_keep=least))
            if options.get("top_p", 1.0) < 1.0:
                steps.append(TopPLogitsWarper(options["top_p"], min_tokens_to_keep=least))
            if "min_p" in options:
                steps.append(MinPLogitsWarper(options["min_p"], min_tokens_to_keep=least))
            out = steps(torch.zeros(3, 1, dtype=torch.long), rows.clone())
            kept = [{i: v for i, v in enumerate(row) if v != float("-inf")} for row in out.tolist()]
            cases.append({"options": options, "least": least, "kept": kept})
    write("scores.json", {"rows": [3, 77, 500], "cases": cases})


FAMILIES = {"gpt2": "gpt2/causal-lm", "gpt2-varied": "gpt2/varied", "t5": "t5/seq2seq", "t5-gated": "t5/gated", "t5-varied": "t5/varied"}
SEARCHES = {
    "greedy": {},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "early": {"num_beams": 3, "early_stopping": True, "length_penalty": 0.6, "no_repeat_ngram_size": 2},
}


def models(name):
    """The checkpoint in float32 and float64, and with weights that differ in the seventh digit: all must generate the same text."""
    variants = []
    for seed in (None, 1, 2):
        model = (AutoModelForSeq2SeqLM if name.startswith("t5") else AutoModelForCausalLM).from_pretrained(
            here.parent / FAMILIES[name] / "checkpoint", dtype=torch.float32 if seed is None else torch.float64
        )
        if seed is not None:
            noise = torch.Generator().manual_seed(seed)
            for weight in model.parameters():
                weight.data *= 1 + 3e-6 * torch.randn(weight.shape, generator=noise, dtype=weight.dtype)
        variants.append(model.eval())
    return variants


def family(name):
    variants = models(name)
    vocabulary = variants[0].config.vocab_size
    random = torch.Generator().manual_seed(7)
    kept, left_out = [], 0
    for length in range(1, 21):
        prompts = torch.randint(2, vocabulary, (14, length), generator=random)
        # T5's cache in transformers 5.23 has as many layers as the encoder, which here has fewer than the decoder.
        options = {"max_new_tokens": 16, "pad_token_id": 0, "use_cache": name.startswith("gpt2")}
        found = [{"prompt": prompt} for prompt in prompts.tolist()]
        decided = [True] * len(found)
        for search, more in SEARCHES.items():
            begun = 1 if name.startswith("t5") else length
            each = more.get("num_return_sequences", 1)
            end = variants[0].generation_config.eos_token_id
            ways = []
            for model in variants:
                out = model.generate(prompts, attention_mask=torch.ones_like(prompts), **options, **more)
                texts = [unpadded(text[begun:], end) for text in out.tolist()]
                ways.append([texts[i * each : (i + 1) * each] for i in range(len(found))])
            for i, one in enumerate(found):
                one[search] = ways[0][i]
                decided[i] &= ways[0][i] == ways[1][i] == ways[2][i]
        left_out += decided.count(False)
        kept += [one for one, sure in zip(found, decided) if sure][:10]
    assert len(kept) == 200
    different = {search: len({str(one[search]) for one in kept}) for search in SEARCHES}
    print(f"{name}: {left_out} of {20 * 14} prompts left out; different texts: {different}")
    write(f"{name}.json", {"max_new_tokens": 16, "searches": SEARCHES, "texts": kept})


def unpadded(text, end):
    return text[: text.index(end) + 1] if end in text else text


def write(name, value):
    here.mkdir(exist_ok=True)
    (here / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 1:
        searches()
        scores()
    for name in sys.argv[1:] or FAMILIES:
        with torch.inference_mode():
            family(name)
