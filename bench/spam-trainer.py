"""
A spam classifier of pipelines/spam.yaml or pipelines/spam-minilm.yaml trained with Hugging Face's Trainer, to hold ours against:
the same tokens, the same weights or start-up distribution, the same options.

    python bench/spam-trainer.py TOKENS MODEL [--seeds 0 1 2] [--learning-rate 1e-3] [--epochs 3] [--batch-size 32] [--threads 2]

TOKENS is the output `tokens` of the pipeline's tokenize step (.tunesmith/outputs/spam/tokenize/tokens), MODEL the model folder
(pipelines/models/bert-tiny); one without weights starts at random. Needs torch, transformers, accelerate, safetensors and scikit-learn.
Prints a JSON line for each seed: F1 and accuracy on the test split, seconds of training, real tokens a second.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("tokens", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=-1, help="stop early, for a quick look at the speed")
parser.add_argument("--group-by-length", action="store_true", help="batches of like lengths, as ours")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import torch
from safetensors.numpy import load_file
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

torch.set_num_threads(args.threads)
info = json.loads((args.tokens / "tokens.json").read_text())


def read(split):
    rows = []
    for shard in info["splits"][split]["shards"]:
        tensors = load_file(args.tokens / shard)
        offsets = tensors["offsets"]
        for i, label in enumerate(tensors["labels"]):
            ids = tensors["input_ids"][offsets[i] : offsets[i + 1]].tolist()
            rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(label)})
    return rows


train, validation, test = read("train"), read("validation"), read("test")
tokens = sum(len(row["input_ids"]) for row in train)
tokenizer = AutoTokenizer.from_pretrained(args.model)
spam = info["labels"].index("spam")

for seed in args.seeds:
    set_seed(seed)
    config = AutoConfig.from_pretrained(args.model, num_labels=len(info["labels"]))
    if (args.model / "model.safetensors").exists():
        model = AutoModelForSequenceClassification.from_pretrained(args.model, config=config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder,
            num_train_epochs=args.epochs,
            max_steps=args.steps,
            per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            eval_strategy="epoch" if args.steps < 0 else "no",
            train_sampling_strategy="group_by_length" if args.group_by_length else "random",
            save_strategy="no",
            report_to=[],
            seed=seed,
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer = Trainer(model, options, DataCollatorWithPadding(tokenizer), train, validation)
        start = time.perf_counter()
        steps = trainer.train().global_step
        seconds = time.perf_counter() - start
        predicted = trainer.predict(test).predictions.argmax(-1)
    truth = [row["labels"] for row in test]
    seen = tokens * steps / (-(-len(train) // args.batch_size))
    print(
        json.dumps(
            {
                "seed": seed,
                "f1": f1_score(truth, predicted, pos_label=spam),
                "accuracy": accuracy_score(truth, predicted),
                "seconds": round(seconds, 1),
                "tokens_per_second": round(seen / seconds),
            }
        ),
        flush=True,
    )
