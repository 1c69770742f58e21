"""Prints what transformers makes of a model for masked-lm: python fill-mask.py MODEL TEXTS.json > JSON

The names of missing and unexpected weights, the ids of all texts, and for texts with a mask the logits at its place.
"""

import json
import sys

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model, loading = AutoModelForMaskedLM.from_pretrained(sys.argv[1], dtype=torch.float32, output_loading_info=True)
rows = []
for text in json.load(open(sys.argv[2])):
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
    ids = inputs["input_ids"][0]
    row = {"ids": ids.tolist()}
    if tokenizer.mask_token_id in row["ids"]:
        with torch.no_grad():
            row["logits"] = model.eval()(**inputs).logits[0, ids == tokenizer.mask_token_id][0].tolist()
    rows.append(row)
json.dump({"loading": {key: sorted(map(str, value)) for key, value in loading.items()}, "rows": rows}, sys.stdout)
