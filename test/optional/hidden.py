"""Prints the last hidden states of a BERT in transformers, with the ids of its tokenizer: python hidden.py MODEL TEXTS.json > JSON"""

import json
import sys

import torch
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
rows = []
for text in json.load(open(sys.argv[2])):
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state[0]
    rows.append({"ids": inputs["input_ids"][0].tolist(), "hidden": hidden.flatten().tolist()})
json.dump(rows, sys.stdout)
