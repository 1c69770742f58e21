"""Prints logits of a batch from models with adapters (python lora.py SAVED GOLDEN FAMILY..): with PEFT from SAVED/FAMILY/adapter, with transformers from SAVED/FAMILY."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification


def read(saved: Path, golden: Path) -> dict:
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
    return {"adapter": adapter, "merged": merged, "unused": unused}


saved, golden = map(Path, sys.argv[1:3])
print(json.dumps({family: read(saved / family, golden / family) for family in sys.argv[3:]}))
