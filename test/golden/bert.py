"""
Makes test/golden/bert/: a tiny random BERT with transformers, and what it computes.

    python test/golden/bert.py           (torch, transformers, safetensors)

checkpoint/            config.json and model.safetensors as save_pretrained writes them
inputs.json            ids, mask, token types and labels; logits without and with token types; the loss
gradients.safetensors  the gradients of the loss, clipped to a global norm of 1
after.safetensors      the weights after one step of AdamW with them (lr 1e-3, weight decay 0.01 but for biases and norms)
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

folder = Path(__file__).parent / "bert"
torch.manual_seed(0)
config = BertConfig(
    vocab_size=61,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
    initializer_range=0.2,
    id2label={0: "no", 1: "perhaps", 2: "yes"},
    label2id={"no": 0, "perhaps": 1, "yes": 2},
    problem_type="single_label_classification",
)
model = BertForSequenceClassification(config).eval()
with torch.no_grad():
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "LayerNorm" in name:
            weight.add_(torch.randn_like(weight) * 0.1)
model.save_pretrained(folder / "checkpoint")

lengths = [21, 7, 16, 1]
ids = torch.randint(1, config.vocab_size, (len(lengths), max(lengths)))
mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
ids = ids * mask
types = (torch.arange(max(lengths)) > 4).long() * mask
labels = torch.tensor([2, 0, 1, 1])
with torch.no_grad():
    typed = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
out = model(input_ids=ids, attention_mask=mask, labels=labels)
values = {
    "input_ids": ids.tolist(),
    "attention_mask": mask.tolist(),
    "token_type_ids": types.tolist(),
    "labels": labels.tolist(),
    "logits": out.logits.tolist(),
    "logits_with_types": typed.tolist(),
    "loss": out.loss.item(),
}

out.loss.backward()
values["grad_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
save_file({n: p.grad for n, p in model.named_parameters()}, folder / "gradients.safetensors", {"format": "pt"})
plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
decayed = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "LayerNorm" in n)]
torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=1e-3).step()
save_file({n: p.detach() for n, p in model.named_parameters()}, folder / "after.safetensors", {"format": "pt"})
(folder / "inputs.json").write_text(json.dumps(values) + "\n")
