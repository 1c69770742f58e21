"""Logits of a saved folder in transformers, and what loading it had to say: python roundtrip.py FOLDER INPUTS > JSON"""

import json
import sys

import torch
from transformers import AutoModelForSequenceClassification

folder, inputs = sys.argv[1], json.load(open(sys.argv[2]))
model, loading = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
with torch.no_grad():
    given = {name: torch.tensor(inputs[name]) for name in ("input_ids", "attention_mask")}
    logits = model.eval()(**given).logits
json.dump({"loading": {key: sorted(map(str, value)) for key, value in loading.items()}, "logits": logits.tolist()}, sys.stdout)
