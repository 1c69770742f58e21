"""
Writes small models, and what transformers' pipelines answer with them: python make.py     (torch, transformers)

The tokenizers are those of test/golden/tokenizer.
"""

import json
import os
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, RobertaConfig, pipeline
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    RobertaForTokenClassification,
)

here = Path(__file__).parent
golden = Path(os.environ.get("TUNESMITH_GOLDEN", here.parent))
sizes = dict(
    vocab_size=340,
    hidden_size=12,
    num_hidden_layers=1,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=64,
    initializer_range=0.6,
)
functions = ("softmax", "sigmoid", "none")
labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
texts = [
    "the cat sat on the mat",
    "monday notes: the unhappy cats, and rats!",
    "the \N{GRINNING FACE} cat sat on caf\u00e9s",
]
models = {
    "classify": ("bert-uncased", BertForSequenceClassification, BertConfig, ["ham", "spam", "other"]),
    "tag": ("bert-uncased", BertForTokenClassification, BertConfig, labels),
    "tag-roberta": ("roberta", RobertaForTokenClassification, RobertaConfig, labels),
    "fill": ("bert-uncased", BertForMaskedLM, BertConfig, None),
    "label": ("bert-uncased", BertForSequenceClassification, BertConfig, ["cat", "rat", "mat"]),
    "rate": ("bert-uncased", BertForSequenceClassification, BertConfig, ["stars"]),
}
problems = {"label": "multi_label_classification", "rate": "regression"}
cases = {
    "label": ("text-classification", texts, [{"top_k": None}, {"top_k": 1}] + [{"top_k": None, "function_to_apply": f} for f in functions]),
    "rate": ("text-classification", texts, [{"top_k": None}] + [{"top_k": None, "function_to_apply": f} for f in functions]),
    "classify": ("text-classification", texts, [{"top_k": None}, {"top_k": 2}]
        + [{"top_k": None, "function_to_apply": f} for f in functions]),
    "tag": ("token-classification", texts, [{"aggregation_strategy": s} for s in ("none", "simple", "first", "average", "max")]
        + [{"aggregation_strategy": "simple", "ignore_labels": ["PER"]}]),
    "tag-roberta": ("token-classification", texts[:2], [{"aggregation_strategy": s} for s in ("none", "simple", "first", "average", "max")]),
    "fill": ("fill-mask", ["the [MASK] sat on the mat", "the [MASK] sat on the [MASK]"], [{}, {"top_k": 2}, {"targets": ["cat", "rats", "unhappy"]}, {"targets": "mat", "top_k": 4}, {"targets": ["cat", "mat", "the"], "top_k": 2}]),
}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value


answers = []
for seed, (name, (tokenizer, architecture, config, names)) in enumerate(models.items()):
    torch.manual_seed(seed + 11)
    named = {} if names is None else {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    special = dict(pad_token_id=1, max_position_embeddings=66) if tokenizer == "roberta" else {}
    problem = {"problem_type": problems[name]} if name in problems else {}
    model = architecture(config(**{**sizes, **named, **special, **problem})).eval()
    model.save_pretrained(here / name)
    task, inputs, parameters = cases[name]
    run = pipeline(task, model=model, tokenizer=AutoTokenizer.from_pretrained(golden / "tokenizer" / tokenizer))
    for given in parameters:
        for text in inputs:
            answers.append({"model": name, "tokenizer": tokenizer, "text": text, "parameters": given, "answer": plain(run(text, **given))})
(here / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
