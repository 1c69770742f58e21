"""Runs models that we saved in transformers: python families.py FOLDER.. CASE.. > JSON, one line per folder.

The inputs are the golden ones. A case is a folder of test/golden with its class, bert/masked-lm=BertForMaskedLM.
"""

import json
import sys
from pathlib import Path

import torch
import transformers



def read(folder: str, name: str, kind: str) -> dict:
    model, loading = getattr(transformers, kind).from_pretrained(f"{folder}/{name}", output_loading_info=True, dtype=torch.float32)
    values = json.loads((Path(__file__).parent / f"../golden/{name}/inputs.json").read_text())
    inputs = {key: torch.tensor(values[key]) for key in ("input_ids", "attention_mask", "token_type_ids") if key in values}
    if name.startswith("t5/"):
        inputs["labels"] = torch.tensor(values["labels"])  # the decoder reads them too
    if "/" not in name:
        inputs.pop("token_type_ids", None)  # the golden logits are without them
    with torch.no_grad():
        out = model.eval()(**inputs)
    outputs = [key for key in ("logits", "start_logits", "end_logits") if key in values]
    return {
        "loading": {key: sorted(map(str, value)) for key, value in loading.items()},
        "labels": [model.config.id2label[i] for i in sorted(model.config.id2label)],
        "outputs": {key: out[key].flatten().tolist() for key in outputs},
    }


cases = [argument.split("=") for argument in sys.argv[1:] if "=" in argument]
for folder in sys.argv[1:]:
    if "=" not in folder:
        print(json.dumps({name: read(folder, name, kind) for name, kind in cases}))
