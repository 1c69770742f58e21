"""
The same with Python, measured as bench/tokenize-ours.ts measures ours. Run by bench/tokenize.ts:

    python tokenize-theirs.py DATA MODEL TOKENS OPTIONS
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

# Python puts the script's own folder first, where this file would stand for the standard library's tokenize.
sys.path.pop(0)
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from transformers import BertTokenizerFast

SHARD_TOKENS = 1 << 22
data, model, tokens, options = sys.argv[1:5]
options = json.loads(options)
paired = "text_pair" in options

start = time.perf_counter()
Path(tokens).mkdir(parents=True, exist_ok=True)
tokenizer = BertTokenizerFast.from_pretrained(model)


class Writer:
    def __init__(self, split):
        self.split, self.shards = split, 0
        self.examples = open(Path(tokens) / f"{split}-examples.jsonl", "w")
        self.clear()

    def clear(self):
        self.parts = {"input_ids": [], "token_type_ids": []} if paired else {"input_ids": []}
        self.offsets, self.labels = [0], []

    def add(self, made, ids, labels):
        for name, parts in self.parts.items():
            parts.extend(np.asarray(row, np.int32) for row in made[name])
        for row in made["input_ids"]:
            self.offsets.append(self.offsets[-1] + len(row))
        self.labels.extend(labels)
        self.examples.writelines(json.dumps({"id": id}) + "\n" for id in ids)
        if self.offsets[-1] >= SHARD_TOKENS:
            self.flush()

    def flush(self):
        tensors = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        tensors |= {"offsets": np.asarray(self.offsets, np.int64), "labels": np.asarray(self.labels, np.int32)}
        save_file(tensors, Path(tokens) / f"{self.split}-{self.shards:05}.safetensors")
        self.shards += 1
        self.clear()

    def end(self):
        if self.labels:
            self.flush()
        self.examples.close()


file = pq.ParquetFile(Path(data) / "data.parquet")
columns = ["id", "split", "label", "text"] + (["text_pair"] if paired else [])
labels = {name: i for i, name in enumerate(sorted(set(pq.read_table(Path(data) / "data.parquet", columns=["label"])["label"].to_pylist())))}
writers = {}
for batch in file.iter_batches(1000, columns=columns):
    for split in pc.unique(batch["split"]).to_pylist():
        rows = batch.filter(pc.equal(batch["split"], split)).to_pydict()
        made = tokenizer(
            rows["text"],
            rows["text_pair"] if paired else None,
            truncation=True,
            max_length=options["max_length"],
            return_attention_mask=False,
            return_token_type_ids=paired,
        )
        if split not in writers:
            writers[split] = Writer(split)
        writers[split].add(made, rows["id"], [labels[name] for name in rows["label"]])
for writer in writers.values():
    writer.end()
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
