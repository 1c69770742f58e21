"""Writes schedule.json: learning rates by step from transformers' schedulers (python schedule.py; torch, transformers)."""
import json, pathlib
import torch
from transformers import get_scheduler

cases = []
for kind, warmup, total in [("linear", 0, 10), ("linear", 3, 10), ("cosine", 3, 11), ("constant", 0, 5), ("constant_with_warmup", 3, 6), ("linear", 7, 5)]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    rates = []
    for _ in range(total):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    cases.append({"kind": kind, "warmup": warmup, "total": total, "rates": rates})
pathlib.Path(__file__).with_name("schedule.json").write_text(json.dumps(cases) + "\n")
