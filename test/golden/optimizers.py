"""Golden steps of SGD and Adafactor, and losses with weights of classes and rows, and smoothing. Run: python optimizers.py > optimizers.json"""
import json
import torch
import torch.nn.functional as F
from transformers.optimization import Adafactor

r = torch.randn


def run(make, decay, steps=4):
    torch.manual_seed(2)
    params = {"w": torch.nn.Parameter(r(5, 9)), "b": torch.nn.Parameter(r(7)), "cube": torch.nn.Parameter(r(2, 3, 4))}
    start = {name: value.flatten().tolist() for name, value in params.items()}
    optimizer = make(list(params.values()), decay)
    found = []
    for step in range(steps):
        rate = 0.02 / (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for value in params.values():
            value.grad = r(value.shape)
        gradients = {name: value.grad.flatten().tolist() for name, value in params.items()}
        optimizer.step()
        found.append({"rate": rate, "gradients": gradients, "weights": {name: value.flatten().tolist() for name, value in params.items()}})
    return {"shapes": {name: list(value.shape) for name, value in params.items()}, "start": start, "decay": decay, "steps": found}


sgd = lambda **options: lambda params, decay: torch.optim.SGD(params, lr=1.0, weight_decay=decay, **options)
adafactor = lambda params, decay: Adafactor(params, lr=1.0, weight_decay=decay, scale_parameter=False, relative_step=False)
optimizers = {
    "sgd": run(sgd(), 0.1),
    "sgd with momentum": run(sgd(momentum=0.9), 0.1),
    "sgd with nesterov": run(sgd(momentum=0.9, nesterov=True), 0.0),
    "adafactor": run(adafactor, 0.1),
}

torch.manual_seed(3)
logits, labels, weight = 3 * r(6, 5), torch.tensor([2, -100, 0, 4, -100, 1]), torch.tensor([0.5, 2.0, 1.0, 3.0, 0.25])
losses = []
for weights in (None, weight):
    for smoothing in (0.0, 0.1):
        x = logits.double().requires_grad_()
        loss = F.cross_entropy(x, labels, weight=None if weights is None else weights.double(), label_smoothing=smoothing)
        loss.backward()
        losses.append({"weights": None if weights is None else weights.tolist(), "smoothing": smoothing, "loss": loss.item(), "gradient": x.grad.flatten().tolist()})

# A weight for each row multiplies the weight of its label, in the sum and in what divides it.
rows = torch.tensor([0.5, 9.0, 2.0, 1.25, 9.0, 0.75])
weighted = []
for weights in (None, weight):
    for smoothing in (0.0, 0.1):
        x = logits.double().requires_grad_()
        each = F.cross_entropy(x, labels, weight=None if weights is None else weights.double(), label_smoothing=smoothing, reduction="none")
        own = [0.0 if y == -100 else r * (1.0 if weights is None else weights[y].item()) for r, y in zip(rows.tolist(), labels.tolist())]
        loss = (rows.double() * each).sum() / sum(own)
        loss.backward()
        weighted.append({"weights": None if weights is None else weights.tolist(), "rows": rows.tolist(), "smoothing": smoothing, "loss": loss.item(), "gradient": x.grad.flatten().tolist()})
losses += weighted
print(json.dumps({"optimizers": optimizers, "logits": logits.flatten().tolist(), "labels": labels.tolist(), "losses": losses}))
