"""
The same training by Hugging Face's Trainer, measured as bench/train-ours.ts measures ours. Run by bench/train.ts:

    python train-trainer.py TOKENS MODEL BATCH STRATEGY THREADS      STRATEGY: random or group_by_length

With TOKENS "peak" it measures the matrix products' peak instead, in floating-point operations a second.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

tokens_folder, model_folder, batch_size, strategy, threads = sys.argv[1:6]
os.environ["OMP_NUM_THREADS"] = threads
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

torch.set_num_threads(int(threads))

if tokens_folder == "peak":
    best = 0.0
    for size in (1024, 2048):
        a, b = torch.randn(size, size), torch.randn(size, size)
        for _ in range(5):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    print(json.dumps({"flops": best}))
    sys.exit()

from safetensors.numpy import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification
from transformers import BertTokenizerFast, DataCollatorForSeq2Seq, DataCollatorWithPadding, PrinterCallback
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

WARM_UP = 2
folder = Path(tokens_folder)
info = json.loads((folder / "tokens.json").read_text())
rows = []
for shard in info["splits"]["train"]["shards"]:
    tensors = load_file(folder / shard)
    offsets = tensors["offsets"]
    labels = tensors["labels"]
    if info["task"] != "text-classification":
        ends = tensors.get("target_offsets", offsets)
        labels = [labels[ends[i] : ends[i + 1]].tolist() for i in range(len(ends) - 1)]
    for i, label in enumerate(labels):
        ids = tensors["input_ids"][offsets[i] : offsets[i + 1]].tolist()
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label if isinstance(label, list) else int(label)})

set_seed(0)
tokenizer = BertTokenizerFast.from_pretrained(folder)
collate = DataCollatorWithPadding(tokenizer) if info["task"] == "text-classification" else DataCollatorForSeq2Seq(tokenizer)
if info["task"] == "text-classification":
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=len(info["labels"]))
else:
    kind = AutoModelForCausalLM if info["task"] == "causal-lm" else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(model_folder)
shapes = []


def counted(features):
    batch = collate(features)
    targets = int((batch["labels"] >= 0).sum()) if info["task"] == "seq2seq" else 0
    shapes.append(((tuple(batch["input_ids"].shape), tuple(batch["labels"].shape)), int(batch["attention_mask"].sum()) + targets))
    return batch


class Clock(TrainerCallback):
    ends = []

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


with tempfile.TemporaryDirectory() as output:
    options = TrainingArguments(
        output,
        num_train_epochs=1,
        per_device_train_batch_size=int(batch_size),
        learning_rate=5e-5,
        train_sampling_strategy=strategy,
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        seed=0,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, options, counted, rows, callbacks=[Clock()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def products(shape):
    """Floating-point operations of the matrix products in a step; nothing is computed for it."""
    model.config.use_cache = True  # without, GPT-2 looks into its inputs for packed sequences, and there is nothing in them
    with torch.device("meta"):
        ghost = type(model)(model.config)
        # scaled_dot_product_attention is counted as the products that it is
        with FlopCounterMode(display=False) as counter:
            ids, labels = (torch.zeros(size, dtype=torch.long) for size in shape)
            ghost(input_ids=ids, labels=labels).loss.backward()
    return counter.get_total_flops()


flops = {shape: products(shape) for shape, _ in set(shapes[WARM_UP : len(Clock.ends)])}
print(
    json.dumps(
        {
            "seconds": Clock.ends[-1] - Clock.ends[WARM_UP - 1],
            "tokens": sum(tokens for _, tokens in shapes[WARM_UP : len(Clock.ends)]),
            "flops": sum(flops[shape] for shape, _ in shapes[WARM_UP : len(Clock.ends)]),
            "bytes": bytes,
            "loss": sum(losses[WARM_UP:]) / len(losses[WARM_UP:]),
        }
    )
)
