"""
Writes what PyTorch rounds float32 to, bit by bit: python float-types.py > float-types.json     (torch)
"""

import json
import random

import torch

random.seed(7)
EDGES = [0x0, 0x1, 0x33000000, 0x33000001, 0x33800000, 0x33C00000, 0x387FC000, 0x387FE000, 0x387FEFFF, 0x387FF000, 0x38800000, 0x38801000]
EDGES += [0x38803000, 0x3F800000, 0x3F801000, 0x3F803000, 0x3F808000, 0x3F818000, 0x477FE000, 0x477FEFFF]
bits = EDGES + [random.randrange(0x30000000, 0x477FEFFF) for _ in range(150)] + [random.randrange(0x33000000, 0x38900000) for _ in range(60)]
bits += [bit | 0x80000000 for bit in bits]
values = torch.tensor([bit - (bit >> 31 << 32) for bit in bits], dtype=torch.int32).view(torch.float32)
halves = {name: values.to(getattr(torch, name)).view(torch.int16).tolist() for name in ("float16", "bfloat16")}
print(json.dumps({"float32": bits} | {name: [half & 0xFFFF for half in stored] for name, stored in halves.items()}))
