"""
Makes quantize.json: the logits of the package's masked language model for masked tokens, as PyTorch's ONNX export computes them in
float32 and after onnxruntime's quantize_dynamic (int8, a scale for each channel). x64quantprecision makes CPUs without VNNI compute
the products of int8 exactly, so that all CPUs agree.

    python test/golden/quantize.py           (onnx 1.23, onnxruntime 1.32, torch 2.13, transformers 5.23)
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForMaskedLM, AutoTokenizer

here = Path(__file__).parent
folder = Path(os.environ.get("TUNESMITH_GOLDEN", here)) / "../../pipelines/models/tunesmith-small"
TEXTS = ["The food was [MASK] and the staff were friendly.", "[MASK]", "He [MASK] to the city by train, because the roads were closed after the storm."]
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
WORDS = 200  # the first ones of the vocabulary after the special tokens


def logits(file, ids, mask):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    found = session.run(None, {one.name: given[one.name] for one in session.get_inputs()})[0]
    return found[0, ids[0].tolist().index(mask), 5 : 5 + WORDS].astype(float).tolist()


tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
with tempfile.TemporaryDirectory() as work:
    plain, quantized = f"{work}/plain.onnx", f"{work}/quantized.onnx"
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in INPUTS)
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS}
    torch.onnx.export(model, example, plain, input_names=INPUTS, output_names=["logits"], dynamic_axes=axes, opset_version=17, dynamo=False)
    quantize_dynamic(plain, quantized, weight_type=QuantType.QInt8, per_channel=True)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="np")["input_ids"].astype(np.int64)
        mask = tokenizer.mask_token_id
        rows.append({"ids": ids[0].tolist(), "mask": mask, "float32": logits(plain, ids, mask), "quantized": logits(quantized, ids, mask)})
(here / "quantize.json").write_text(json.dumps({"first": 5, "rows": rows}) + "\n")
