"""One training step of a small BERT in PyTorch, for training-step.ts and gpu.ts: prints the milliseconds of each step."""
import json
import sys
import time

import torch
from transformers import BertConfig, BertForSequenceClassification

c = json.loads(sys.argv[1])
device = c.get("device", "cpu")
torch.set_num_threads(c["threads"])
config = BertConfig(
    vocab_size=c["vocabulary"], hidden_size=c["hidden"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"],
    intermediate_size=c["ffn"], hidden_dropout_prob=c["dropout"], attention_probs_dropout_prob=c["dropout"],
)
model = BertForSequenceClassification(config).train().to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
ids = torch.randint(1, c["vocabulary"], (c["batch"], c["length"]), device=device)
labels = torch.randint(0, 2, (c["batch"],), device=device)
times = []
for _ in range(c["steps"]):
    start = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=c.get("bf16", False)):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    loss.item()  # waits for the device
    times.append(1000 * (time.perf_counter() - start))
print(json.dumps(times))
