"""What transformers makes of models that we saved: python families.py FOLDER FAMILY.. > JSON; the inputs are the golden ones."""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

read = {}
for family in sys.argv[2:]:
    model, loading = AutoModelForSequenceClassification.from_pretrained(f"{sys.argv[1]}/{family}", output_loading_info=True)
    values = json.loads((Path(__file__).parent / f"../golden/{family}/inputs.json").read_text())
    inputs = {name: torch.tensor(values[name]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = model.eval()(**inputs).logits
    read[family] = {
        "model": type(model).__name__,
        "loading": {key: sorted(map(str, value)) for key, value in loading.items()},
        "logits": logits.flatten().tolist(),
    }
json.dump(read, sys.stdout)
