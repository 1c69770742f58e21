"""
Writes the log probabilities that GPT-2 gives to the tokens of a greedy text, and the most likely tokens, with transformers' own
generate(): python token-predictions.py > token-predictions.json     (torch, transformers)
"""

import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

golden = Path(os.environ.get("TUNESMITH_GOLDEN", Path(__file__).parent))
model = AutoModelForCausalLM.from_pretrained(golden / "gpt2/causal-lm/checkpoint").eval()
cases = []
for prompt in ([5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8]):
    out = model.generate(
        torch.tensor([prompt]), max_new_tokens=8, do_sample=False, repetition_penalty=1.3, pad_token_id=0, eos_token_id=None,
        return_dict_in_generate=True, output_logits=True,
    )
    logs = [row[0].log_softmax(-1) for row in out.logits]
    tokens = out.sequences[0, len(prompt):].tolist()
    top = [[{"id": i.item(), "logprob": v.item()} for v, i in zip(*row.topk(3))] for row in logs]
    cases.append({"prompt": prompt, "tokens": tokens, "logprobs": [row[t].item() for row, t in zip(logs, tokens)], "top": top})
json.dump(cases, sys.stdout)
