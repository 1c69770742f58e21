"""
Makes test/golden/<family>/: for each family of models a tiny random one with transformers, and what it computes.

    python test/golden/families.py           (torch, transformers, safetensors)

checkpoint/            config.json and model.safetensors as save_pretrained writes them
inputs.json            ids, mask, token types and labels; logits without and, if the family knows them, with token types; the loss
gradients.safetensors  the gradients of the loss, clipped to a global norm of 1
after.safetensors      the weights after one step of AdamW with them (lr 1e-3, weight decay 0.01 but for biases and norms)
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

small = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
    "id2label": {0: "no", 1: "perhaps", 2: "yes"},
    "label2id": {"no": 0, "perhaps": 1, "yes": 2},
    "problem_type": "single_label_classification",
}
# The same by DistilBERT's names.
small_distilbert = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48} | {
    key: small[key] for key in small if key not in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
}
# Blocks 0 and 1 are of the first group, 2 of the second.
small_albert = small | {"embedding_size": 16, "num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}


def is_plain(name):
    return name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name


def make(model):
    config = model.config
    folder = Path(__file__).parent / config.model_type
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_plain(name):
                weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder / "checkpoint")

    lengths = [21, 7, 16, 1]
    pad = config.pad_token_id
    ids = torch.randint(pad + 1, config.vocab_size, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = ids * mask + pad * (1 - mask)
    if config.model_type == "roberta":
        ids[0, 5] = pad  # amid a text: it takes none of the positions that are counted
    types = (torch.arange(max(lengths)) > 4).long() * mask
    labels = torch.tensor([2, 0, 1, 1])
    values = {"input_ids": ids.tolist(), "attention_mask": mask.tolist()}
    if hasattr(config, "type_vocab_size"):
        with torch.no_grad():
            typed = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        values |= {"token_type_ids": types.tolist(), "logits_with_types": typed.tolist()}
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    values |= {"labels": labels.tolist(), "logits": out.logits.tolist(), "loss": out.loss.item()}

    out.loss.backward()
    values["grad_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
    save_file({n: p.grad for n, p in model.named_parameters()}, folder / "gradients.safetensors", {"format": "pt"})
    plain = [p for n, p in model.named_parameters() if is_plain(n)]
    decayed = [p for n, p in model.named_parameters() if not is_plain(n)]
    torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=1e-3).step()
    save_file({n: p.detach() for n, p in model.named_parameters()}, folder / "after.safetensors", {"format": "pt"})
    (folder / "inputs.json").write_text(json.dumps(values) + "\n")


for kind, config in [
    (BertForSequenceClassification, BertConfig(**small)),
    (DistilBertForSequenceClassification, DistilBertConfig(**small_distilbert)),
    (RobertaForSequenceClassification, RobertaConfig(**small)),
    (AlbertForSequenceClassification, AlbertConfig(**small_albert)),
]:
    torch.manual_seed(0)
    make(kind(config).eval())
