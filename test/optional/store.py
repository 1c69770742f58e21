"""Saves golden checkpoints as large models are saved: in shards, in half precision. python store.py FOLDER CASE..

A case is a folder of test/golden with its class and a dtype, bert/masked-lm=BertForMaskedLM=float16.
"""

import sys
from pathlib import Path

import torch
import transformers

for case in sys.argv[2:]:
    name, kind, dtype = case.split("=")
    checkpoint = Path(__file__).parent / f"../golden/{name}/checkpoint"
    model = getattr(transformers, kind).from_pretrained(checkpoint, dtype=getattr(torch, dtype))
    model.save_pretrained(f"{sys.argv[1]}/{name}", max_shard_size="4KB")
