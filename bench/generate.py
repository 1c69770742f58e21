"""Greedy generation with transformers, for generate.ts: saves a random GPT-2 small, then answers each line of prompts."""
import json
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(0)
# Wider than GPT-2 begins with: its first weights choose one token for ever.
model = GPT2LMHeadModel(GPT2Config(initializer_range=0.08)).eval()
model.save_pretrained(folder)
print("{}", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    ids = torch.tensor(asked["prompts"])
    start = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=asked["tokens"], eos_token_id=None, pad_token_id=0
        )
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "texts": out[:, ids.shape[1] :].tolist()}), flush=True)
