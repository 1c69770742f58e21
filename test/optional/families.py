"""What transformers makes of models that we saved: python families.py FOLDER CASE.. > JSON; the inputs are the golden ones.

A case is a folder of test/golden with its class, bert/masked-lm=BertForMaskedLM.
"""

import json
import sys
from pathlib import Path

import torch
import transformers

read = {}
for case in sys.argv[2:]:
    name, kind = case.split("=")
    model, loading = getattr(transformers, kind).from_pretrained(f"{sys.argv[1]}/{name}", output_loading_info=True, dtype=torch.float32)
    values = json.loads((Path(__file__).parent / f"../golden/{name}/inputs.json").read_text())
    inputs = {key: torch.tensor(values[key]) for key in ("input_ids", "attention_mask", "token_type_ids") if key in values}
    if name.startswith("t5/"):
        inputs["labels"] = torch.tensor(values["labels"])  # the decoder reads them, too
    if "/" not in name:
        inputs.pop("token_type_ids", None)  # there logits are without them
    with torch.no_grad():
        out = model.eval()(**inputs)
    outputs = [key for key in ("logits", "start_logits", "end_logits") if key in values]
    read[name] = {
        "loading": {key: sorted(map(str, value)) for key, value in loading.items()},
        "labels": [model.config.id2label[i] for i in sorted(model.config.id2label)],
        "outputs": {key: out[key].flatten().tolist() for key in outputs},
    }
json.dump(read, sys.stdout)
