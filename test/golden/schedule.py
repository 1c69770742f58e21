"""Writes schedule.json: learning rates by step from transformers' schedulers (python schedule.py; torch, transformers)."""
import json, pathlib
import torch
from transformers import get_scheduler

cases = []
for kind, warmup, total, *options in [
    ("linear", 0, 10), ("linear", 3, 10), ("cosine", 3, 11), ("constant", 0, 5), ("constant_with_warmup", 3, 6), ("linear", 7, 5),
    ("cosine_with_restarts", 2, 17, {"num_cycles": 3}), ("cosine_with_restarts", 0, 8, {"num_cycles": 1}),
    ("polynomial", 2, 12, {"power": 2.0, "lr_end": 0.01}), ("polynomial", 0, 6, {"power": 1.0, "lr_end": 0.0}),
    ("inverse_sqrt", 4, 15), ("inverse_sqrt", 0, 6),
]:
    options = options[0] if options else {}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total, scheduler_specific_kwargs=options)
    rates = []
    for _ in range(total):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    cases.append({"kind": kind, "warmup": warmup, "total": total, "options": options, "rates": rates})
pathlib.Path(__file__).with_name("schedule.json").write_text(json.dumps(cases) + "\n")
