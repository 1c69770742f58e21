"""
Makes test/golden/distillation/: two tiny BERT teachers, and what a PyTorch loop computes when the models of test/golden/<family>
and test/golden/<family>/<task> learn from them, both without dropout.

    python test/golden/distillation.py           (torch 2.13, transformers 5.23, safetensors)

<task>/                           the teacher, with its labels in another order than the students'
<family>-<task>.json              the options, the loss with its terms, and the norm of the gradient and of that of each weight
bert-<task>/*.safetensors         the gradients, clipped to a global norm of 1, and the weights after one step of AdamW (see step.py)
<family>-pooled-….json            the same for students for masked-lm whose pooler learns, too: it starts from the identity,
                                  or from the stored weights of `given`
"""

import json
from pathlib import Path

import torch
from step import parameters_of, step, unsettle
from safetensors.torch import save_file
from torch.nn import functional
from transformers import (
    AutoModel,
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
POOLED = {
    "bert-pooled-alone": {"temperature": 1.0, "alpha": 0.0, "hidden": 0.0, "pooled": 2.0, "start": "identity"},
    "bert-pooled-hidden": {"temperature": 1.0, "alpha": 0.0, "hidden": 0.3, "pooled": 0.5, "start": "identity"},
    "bert-pooled-alpha": {"temperature": 2.0, "alpha": 0.4, "hidden": 0.0, "pooled": 0.5, "start": "identity"},
    "bert-pooled-given": {"temperature": 3.0, "alpha": 0.6, "hidden": 0.2, "pooled": 0.7, "start": "given"},
    "albert-pooled-given": {"temperature": 3.0, "alpha": 0.6, "hidden": 0.2, "pooled": 0.7, "start": "given"},
}
# Of these, the gradients and the weights after one step are stored, too.
WHOLE = ["bert-pooled-alone", "bert-pooled-given"]


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
    terms = {"distill_loss": divergence.item(), "hidden_loss": hidden.item()}
    if "pooled" not in options:
        return loss, terms
    means = torch.stack([state[mask].mean(0) for state, mask in zip(taught.hidden_states[-1], real)])
    target = torch.tanh(functional.normalize(means, dim=-1) * means.shape[-1] ** 0.5)
    pooled = functional.mse_loss(pooled_by(student, out.hidden_states[-1]), target)
    return loss + options["pooled"] * pooled, terms | {"pooled_loss": pooled.item()}


def add_pooler(student, start):
    """Takes the pooler from the model that has one, and sets its weights; those of `given` are returned by name."""
    body = student.base_model
    whole = AutoModel.from_config(student.config).eval()
    body.pooler = whole.pooler
    body.pooler_activation = getattr(whole, "pooler_activation", None)  # in ALBERT
    weights = [(name, weight) for name, weight in student.named_parameters() if ".pooler." in name]
    torch.manual_seed(2)
    for name, weight in weights:
        if start == "given":
            weight.data = torch.randn_like(weight) * 0.3
        else:
            weight.data = torch.eye(*weight.shape) if weight.dim() == 2 else torch.zeros_like(weight)
    return {name: weight.detach().clone() for name, weight in weights}


def pooled_by(student, states):
    body = student.base_model
    if body.pooler_activation is None:
        return body.pooler(states)
    return body.pooler_activation(body.pooler(states[:, 0]))


def store(name, student, teacher, values, task, options, whole):
    loss, terms = loss_of(student, teacher, values, task, options)
    if whole:
        (folder / name).mkdir(parents=True, exist_ok=True)
        norm = step(student, loss, folder / name)
        factor = min(1, 1 / (norm + 1e-6))
    else:
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), torch.inf).item()
        factor = 1
    norms = {name: (p.grad.norm() / factor).item() for name, p in parameters_of(student) if p.grad is not None}
    stored = {"options": options, "loss": loss.item(), **terms, "grad_norm": norm, "gradient_norms": norms}
    (folder / f"{name}.json").write_text(json.dumps(stored) + "\n")


for task, options in OPTIONS.items():
    teacher = teacher_for(task)
    for family in FAMILIES if task in ("text-classification", "masked-lm") else ["bert"]:
        source = here / family / ("" if task == "text-classification" else task)
        kind = AutoModelForMaskedLM if task == "masked-lm" else AutoModelForSequenceClassification
        student = kind.from_pretrained(source / "checkpoint").eval()
        values = json.loads((source / "inputs.json").read_text())
        if task == "text-classification":
            values.pop("token_type_ids", None)  # as in inputs.json's loss
        store(f"{family}-{task}", student, teacher, values, task, options, family == "bert")

teacher = BertForMaskedLM.from_pretrained(folder / "masked-lm").eval()
for name, options in POOLED.items():
    source = here / name.split("-")[0] / "masked-lm"
    student = AutoModelForMaskedLM.from_pretrained(source / "checkpoint").eval()
    pooler = add_pooler(student, options["start"])
    if options["start"] == "given":
        save_file(pooler, folder / f"{name}.safetensors", {"format": "pt"})
    values = json.loads((source / "inputs.json").read_text())
    store(name, student, teacher, values, "masked-lm", options, name in WHOLE)
