"""Prints logits of a batch by a model with adapters (python lora.py SAVED GOLDEN): by PEFT from SAVED/adapter, by transformers from SAVED."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification

saved, golden = map(Path, sys.argv[1:])
values = json.loads((golden / "inputs.json").read_text())
inputs = {name: torch.tensor(values[name]) for name in ("input_ids", "attention_mask")}
base = AutoModelForSequenceClassification.from_pretrained(golden / "checkpoint")
model = PeftModel.from_pretrained(base, saved / "adapter").eval()
state = {name.replace(".modules_to_save.default", "").replace(".default", ""): weight for name, weight in model.state_dict().items()}
with safe_open(saved / "adapter/adapter_model.safetensors", "pt") as file:
    unused = [name for name in file.keys() if name not in state or not torch.equal(file.get_tensor(name), state[name])]
merged = AutoModelForSequenceClassification.from_pretrained(saved).eval()
with torch.no_grad():
    adapter, merged = (m(**inputs).logits.flatten().tolist() for m in (model, merged))
print(json.dumps({"adapter": adapter, "merged": merged, "unused": unused}))
