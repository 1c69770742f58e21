"""Opens bundles in Hugging Face's transformers and in Python's onnxruntime: python quantized.py BUNDLE.. > JSON"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification

opened = []
for bundle in sys.argv[1:]:
    model, loading = AutoModelForSequenceClassification.from_pretrained(bundle, output_loading_info=True)
    (file,) = Path(bundle, "onnx").iterdir()
    onnx.checker.check_model(str(file), full_check=True)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ids = np.array([[5, 17, 120, 33, 8]])
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(ids)).logits
    (found,) = session.run(["logits"], {one.name: given[one.name] for one in session.get_inputs()})
    opened.append(
        {
            "file": str(file),
            "ids": ids[0].tolist(),
            "loading": {key: sorted(map(str, value)) for key, value in loading.items()},
            "torch": logits[0].tolist(),
            "onnx": found[0].tolist(),
        }
    )
json.dump(opened, sys.stdout)
