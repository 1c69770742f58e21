"""
Writes the values and gradients of transformers' activations: python activations.py > activations.json     (torch, transformers)
"""

import json

import torch
from transformers.activations import ACT2FN

names = "gelu gelu_python gelu_new gelu_fast gelu_accurate gelu_pytorch_tanh gelu_python_tanh quick_gelu relu silu swish tanh"
values = {}
for name in names.split():
    x = torch.linspace(-6, 6, 25, requires_grad=True)
    y = ACT2FN[name](x)
    y.sum().backward()
    values[name] = {"x": x.tolist(), "y": y.tolist(), "gradient": x.grad.tolist()}
print(json.dumps(values))
