"""Runs a bundle of ours in Hugging Face's transformers and in Python's onnxruntime: python reference.py BUNDLE TEXTS > JSON"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

bundle, texts = sys.argv[1], json.load(open(sys.argv[2]))
max_length = json.load(open(f"{bundle}/training.json"))["max_length"]
tokenizer = AutoTokenizer.from_pretrained(bundle)
model, loading = AutoModelForSequenceClassification.from_pretrained(bundle, output_loading_info=True)
onnx.checker.check_model(f"{bundle}/onnx/model.onnx", full_check=True)
session = onnxruntime.InferenceSession(f"{bundle}/onnx/model.onnx", providers=["CPUExecutionProvider"])

rows = []
for text in texts:
    encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**encoded).logits
    feeds = {name: encoded[name].numpy() for name in ("input_ids", "attention_mask", "token_type_ids")}
    (onnx_logits,) = session.run(["logits"], feeds)
    softmax = lambda x: torch.softmax(torch.as_tensor(np.asarray(x)).double(), -1)[0].tolist()
    rows.append({"ids": encoded["input_ids"][0].tolist(), "logits": logits[0].tolist(), "scores": softmax(logits), "onnx_scores": softmax(onnx_logits)})

json.dump(
    {
        "loading": {key: sorted(map(str, value)) for key, value in loading.items()},
        "id2label": model.config.id2label,
        "dtype": str(model.dtype),
        "inputs": {i.name: [str(d) for d in i.shape] for i in session.get_inputs()},
        "rows": rows,
    },
    sys.stdout,
)
