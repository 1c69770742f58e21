"""
Opens bundles of generating models in Hugging Face's transformers and in Python's onnxruntime: python decoders.py BUNDLE.. > JSON

For each bundle, with float32 files: the logits of several steps with a cache, by transformers, by the files, and by the files after
onnxruntime's quantize_dynamic; greedy tokens by transformers' generate and by the files; and the same of the files in int8 and fp16.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

onnxruntime.set_default_logger_severity(3)
STEPS = [4, 1, 2, 1]  # tokens of each run
NEW = 8


class Files:
    """The ONNX files of a bundle, as optimum's layout is used."""

    def __init__(self, paths):
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.sessions = {name: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for name, path in paths.items()}
        self.decoder = self.sessions.get("model") or self.sessions["decoder_model_merged"]

    def begin(self, source, mask):
        self.past = {one.name: np.zeros([1 if axis == "batch_size" else axis if isinstance(axis, int) else 0 for axis in one.shape], np.float32) for one in self.decoder.get_inputs() if one.name.startswith("past")}
        self.read = 0
        self.source = {}
        if "encoder_model" in self.sessions:
            (states,) = self.sessions["encoder_model"].run(None, {"input_ids": source, "attention_mask": mask})
            self.source = {"encoder_hidden_states": states, "encoder_attention_mask": mask}

    def append(self, ids):
        length = ids.shape[1]
        given = {"input_ids": ids, **self.source}
        if not self.source:
            given |= {"attention_mask": np.ones((1, self.read + length), np.int64), "position_ids": self.read + np.arange(length)[None]}
        names = [one.name for one in self.decoder.get_outputs()]
        outputs = dict(zip(names, self.decoder.run(None, given | self.past)))
        self.past = {name.replace("present", "past_key_values"): value for name, value in outputs.items() if name != "logits"}
        self.read += length
        return outputs["logits"]


def logits_of(files, source, tokens):
    files.begin(source, np.ones_like(source))
    parts, at = [], 0
    for count in STEPS:
        parts.append(files.append(tokens[:, at : at + count]))
        at += count
    return np.concatenate(parts, 1)[0].flatten().astype(float).tolist()


def greedy(files, source, first):
    files.begin(source, np.ones_like(source))
    tokens, ids = [], first
    for _ in range(NEW):
        best = int(files.append(ids)[0, -1].argmax())
        tokens.append(best)
        ids = np.array([[best]])
    return tokens


opened = []
for bundle in sys.argv[1:]:
    config = json.loads(Path(bundle, "config.json").read_text())
    kind = AutoModelForSeq2SeqLM if config["model_type"] == "t5" else AutoModelForCausalLM
    model, loading = kind.from_pretrained(bundle, output_loading_info=True, dtype=torch.float32)
    model.eval()
    folder = Path(bundle, "onnx")
    rows = np.random.RandomState(1).randint(4, config["vocab_size"], (6, 1, sum(STEPS))).astype(np.int64)
    sources = np.random.RandomState(2).randint(4, config["vocab_size"], (6, 1, 7)).astype(np.int64)
    names = [path.name.removesuffix(".onnx") for path in folder.iterdir()]
    for name in names:
        onnx.checker.check_model(str(folder / f"{name}.onnx"), full_check=True)
    suffix = next((end for end in ("_quantized", "_fp16") if names[0].endswith(end)), "")
    files = Files({name.removesuffix(suffix): folder / f"{name}.onnx" for name in names})
    result = {"loading": {key: sorted(map(str, value)) for key, value in loading.items()}, "rows": []}
    with tempfile.TemporaryDirectory() as work:
        reference = None
        if suffix == "":
            for name in names:
                quantize_dynamic(str(folder / f"{name}.onnx"), f"{work}/{name}.onnx", weight_type=QuantType.QInt8, per_channel=True)
            reference = Files({name: f"{work}/{name}.onnx" for name in names})
        for tokens, source in zip(rows, sources):
            given = torch.from_numpy(tokens)
            seq2seq = kind is AutoModelForSeq2SeqLM
            with torch.no_grad():
                out = model(input_ids=torch.from_numpy(source), decoder_input_ids=given) if seq2seq else model(given)
                prompt = torch.from_numpy(source) if seq2seq else given
                text = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
            first = np.array([[config["decoder_start_token_id"]]]) if seq2seq else tokens
            result["rows"].append(
                {
                    "torch": out.logits[0].flatten().tolist(),
                    "onnx": logits_of(files, source, tokens),
                    "quantize_dynamic": reference and logits_of(reference, source, tokens),
                    "generate": text[0, 1 if seq2seq else tokens.shape[1] :].tolist(),
                    "greedy": greedy(files, source, first),
                }
            )
        if reference:
            result["size"] = sum(path.stat().st_size for path in Path(work).iterdir())
    opened.append(result)
json.dump(opened, sys.stdout)
