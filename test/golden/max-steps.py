"""Writes max-steps.json: the training of transformers' Trainer with max_steps (python max-steps.py; torch, transformers, accelerate)."""
import json, pathlib, tempfile
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

ROWS, BATCH = 70, 4  # 18 steps per epoch


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def forward(self, x, labels):
        out = self.line(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


class Watch(TrainerCallback):
    def __init__(self):
        self.rates, self.measured = [], []

    def on_step_begin(self, args, state, control, lr_scheduler=None, **_):
        self.rates.append(lr_scheduler.get_last_lr()[0])

    def on_evaluate(self, args, state, control, **_):
        self.measured.append(state.global_step)


cases = []
for max_steps, scheduler, warmup, measuring in [
    (25, "linear", 0.1, {"eval_strategy": "epoch"}),
    (36, "cosine", 0, {"eval_strategy": "epoch"}),
    (7, "linear", 2, {"eval_strategy": "epoch"}),
    (25, "linear", 0, {"eval_strategy": "steps", "eval_steps": 10}),
]:
    rows = [{"x": torch.tensor([i / ROWS]), "labels": torch.tensor([2 * i / ROWS])} for i in range(ROWS)]
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=3, max_steps=max_steps, per_device_train_batch_size=BATCH, learning_rate=0.02,
            lr_scheduler_type=scheduler, warmup_steps=warmup, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
            logging_strategy="no", **measuring,
        )
        trainer = Trainer(Line(), arguments, train_dataset=rows, eval_dataset=rows[:4], callbacks=[watch])
        trainer.train()
        state = trainer.state
    cases.append({
        "options": {"max_steps": max_steps, "lr_scheduler_type": scheduler, "warmup_steps": warmup, **measuring},
        "steps": state.global_step, "epochs": state.epoch, "num_train_epochs": state.num_train_epochs,
        "rates": watch.rates, "measured": watch.measured,
    })
pathlib.Path(__file__).with_name("max-steps.json").write_text(json.dumps(cases) + "\n")
