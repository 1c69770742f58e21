"""
Makes test/golden/distillation/: two tiny BERT teachers, and what a PyTorch loop computes when the models of test/golden/<family>
and test/golden/<family>/<task> learn from them, both without dropout.

    python test/golden/distillation.py           (torch 2.13, transformers 5.23, safetensors)

<task>/                           the teacher, with its labels in another order than the students'
<family>-<task>.json              the options, the loss with its terms, and the norm of the gradient and of that of each weight
bert-<task>/*.safetensors         the gradients, clipped to a global norm of 1, and the weights after one step of AdamW (see step.py)
"""

import json
from pathlib import Path

import torch
from step import parameters_of, step, unsettle
from torch.nn import functional
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
)

here = Path(__file__).parent
folder = here / "distillation"
FAMILIES = ["bert", "distilbert", "roberta", "albert", "xlm-roberta", "camembert", "electra", "modernbert"]
# The teachers have the students' hidden sizes and vocabularies, and more layers.
SIZES = {
    "text-classification": {"vocab_size": 61, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 5},
    "masked-lm": {"vocab_size": 41, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 3},
    "multi_label_classification": {"vocab_size": 41, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 1},
    "regression": {"vocab_size": 41, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 1},
}
LABELS = ["yes", "no", "perhaps"]
STUDENTS = ["no", "perhaps", "yes"]
OPTIONS = {
    "text-classification": {"temperature": 2.0, "alpha": 0.3, "hidden": 0.7},
    "masked-lm": {"temperature": 3.0, "alpha": 0.6, "hidden": 0.2},
    "multi_label_classification": {"temperature": 2.0, "alpha": 0.4, "hidden": 0.0},
    "regression": {"temperature": 1.0, "alpha": 0.4, "hidden": 0.5},
}


def teacher_for(task):
    sizes = SIZES[task] | {"intermediate_size": 20, "max_position_embeddings": 40, "initializer_range": 0.2}
    names = ["score"] if task == "regression" else LABELS
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    problem = {"problem_type": "single_label_classification" if task == "text-classification" else task}
    torch.manual_seed(1)
    if task == "masked-lm":
        model = BertForMaskedLM(BertConfig(**sizes)).eval()
    else:
        model = BertForSequenceClassification(BertConfig(**sizes, **labels, **problem)).eval()
    unsettle(model)
    model.save_pretrained(folder / task)
    return model


def loss_of(student, teacher, values, task, options):
    """The loss with its terms, as Hinton et al. and TinyBERT define them."""
    given = {name: torch.tensor(values[name]) for name in ("input_ids", "attention_mask", "token_type_ids") if name in values}
    labels = torch.tensor(values["labels"])
    out = student(**given, labels=labels, output_hidden_states=True)
    with torch.no_grad():
        taught = teacher(**given, output_hidden_states=True)
    temperature, target = options["temperature"], taught.logits
    if task in ("text-classification", "multi_label_classification"):
        target = target[:, [LABELS.index(label) for label in STUDENTS]]
    if task == "multi_label_classification":
        p, q = torch.sigmoid(target / temperature), torch.sigmoid(out.logits / temperature)
        divergence = (p * (p.log() - q.log()) + (1 - p) * ((1 - p).log() - (1 - q).log())).mean() * temperature**2
    elif task == "regression":
        divergence = functional.mse_loss(out.logits, target)
    else:
        counted = labels.flatten() != -100
        own, other = (functional.log_softmax(x.flatten(0, -2)[counted] / temperature, -1) for x in (out.logits, target))
        divergence = functional.kl_div(own, other, log_target=True, reduction="batchmean") * temperature**2
    real = given["attention_mask"].bool()
    layers, others = len(out.hidden_states) - 1, len(taught.hidden_states) - 1
    pairs = [(m, int(m * others / layers + 0.5)) for m in range(layers + 1)]
    hidden = torch.stack(
        [functional.mse_loss(out.hidden_states[m][real], taught.hidden_states[n][real]) for m, n in pairs]
    ).mean()
    loss = options["alpha"] * divergence + (1 - options["alpha"]) * out.loss + options["hidden"] * hidden
    return loss, {"distill_loss": divergence.item(), "hidden_loss": hidden.item()}


for task, options in OPTIONS.items():
    teacher = teacher_for(task)
    for family in FAMILIES if task in ("text-classification", "masked-lm") else ["bert"]:
        source = here / family / ("" if task == "text-classification" else task)
        kind = AutoModelForMaskedLM if task == "masked-lm" else AutoModelForSequenceClassification
        student = kind.from_pretrained(source / "checkpoint").eval()
        values = json.loads((source / "inputs.json").read_text())
        if task == "text-classification":
            values.pop("token_type_ids", None)  # as in inputs.json's loss
        loss, terms = loss_of(student, teacher, values, task, options)
        own = folder / f"{family}-{task}"
        if family == "bert":
            own.mkdir(parents=True, exist_ok=True)
            norm = step(student, loss, own)
            factor = min(1, 1 / (norm + 1e-6))
        else:
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(student.parameters(), torch.inf).item()
            factor = 1
        norms = {name: (p.grad.norm() / factor).item() for name, p in parameters_of(student) if p.grad is not None}
        stored = {"options": options, "loss": loss.item(), **terms, "grad_norm": norm, "gradient_norms": norms}
        (folder / f"{family}-{task}.json").write_text(json.dumps(stored) + "\n")
