"""Golden values for the ops, the optimizer and a whole training of steps/runtime, from PyTorch. Run: python make.py > runtime.json"""
import json
import math
import torch
import torch.nn.functional as F

torch.manual_seed(0)
r = torch.randn
ops = {}


def tensor(t):
    dtype = "int32" if t.dtype == torch.int64 else "float32"
    return {"dtype": dtype, "shape": list(t.shape), "data": t.detach().flatten().tolist()}


def op(name, f, weights, **inputs):
    """The gradients of sum(output * upstream), in double precision."""
    weights = {k: v.double().requires_grad_() for k, v in weights.items()}
    out = f(weights, {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()})
    upstream = r(out.shape)
    (out * upstream.double()).sum().backward()
    ops[name] = {
        "weights": {k: tensor(v.float()) for k, v in weights.items()},
        "inputs": {**{k: tensor(v) for k, v in inputs.items()}, "upstream": tensor(upstream)},
        "output": tensor(out.float()),
        "gradients": {k: tensor(v.grad.float()) for k, v in weights.items()},
    }


op("layerNorm", lambda w, i: F.layer_norm(w["x"], (12,), w["gamma"], w["beta"], 1e-12), {"x": 3 * r(2, 5, 12) + 1, "gamma": r(12), "beta": r(12)})
op("gelu", lambda w, i: F.gelu(w["x"]), {"x": 3 * r(4, 7)})
op("geluNew", lambda w, i: F.gelu(w["x"], approximate="tanh"), {"x": 3 * r(4, 7)})
mask = torch.zeros(2, 1, 1, 5)
mask[1, :, :, 3:] = torch.finfo(torch.float32).min
op("softmax", lambda w, i: torch.softmax(w["x"] + i["mask"], -1), {"x": r(2, 3, 4, 5)}, mask=mask)
op("linear", lambda w, i: F.linear(w["x"], w["weight"], w["bias"]), {"x": r(2, 3, 6), "weight": r(4, 6), "bias": r(4)})
op("linearNoBias", lambda w, i: F.linear(w["x"], w["weight"]), {"x": r(2, 3, 6), "weight": r(4, 6)})
ids = torch.tensor([[1, 4, 4, 0], [0, 1, 6, 4]])
op("embedding", lambda w, i: F.embedding(i["ids"], w["weight"], padding_idx=0), {"weight": r(7, 5)}, ids=ids)
labels = torch.tensor([2, -100, 0, 4, -100, 1])
op("crossEntropy", lambda w, i: F.cross_entropy(w["logits"], i["labels"]), {"logits": 3 * r(6, 5)}, labels=labels)


def attention(w, i):
    split = lambda t: t.view(2, -1, 3, 4).transpose(1, 2)
    out = F.scaled_dot_product_attention(split(w["q"]), split(w["k"]), split(w["v"]), attn_mask=i["mask"])
    return out.transpose(1, 2).reshape(2, -1, 12)


op("attention", attention, {"q": r(2, 4, 12), "k": r(2, 5, 12), "v": r(2, 5, 12)}, mask=mask)
op("layerNormNoBias", lambda w, i: F.layer_norm(w["x"], (12,), w["gamma"], None, 1e-5), {"x": 3 * r(2, 5, 12) + 1, "gamma": r(12)})


def angles(positions, width, theta):
    """As transformers' rotary embeddings compute them, in single precision."""
    return positions.float()[:, None] * (1.0 / theta ** (torch.arange(0, width, 2).float() / width))


def rotate(w, i):
    turns = torch.cat((angles(torch.arange(5), 8, 100.0),) * 2, -1).double()
    a, b = w["x"].chunk(2, -1)
    return w["x"] * turns.cos() + torch.cat((-b, a), -1) * turns.sin()


op("rotate", rotate, {"x": r(2, 3, 5, 8)})


def rotary():
    """Rotary tables of distant positions, where the rounding of the angles is visible."""
    positions = torch.tensor([0, 1, 77, 1000, 4095, 8191])
    turns = angles(positions, 16, 160000.0)
    return {"positions": positions.tolist(), "cos": turns.cos().flatten().tolist(), "sin": turns.sin().flatten().tolist()}


def optimizer(weight_decay, max_norm, scale):
    """AdamW with clipping; `b` is not decayed and `unused` has no gradient."""
    torch.manual_seed(1)
    params = {"w": torch.nn.Parameter(r(5, 9)), "b": torch.nn.Parameter(r(11)), "unused": torch.nn.Parameter(r(3))}
    groups = [{"params": [params["w"], params["unused"]], "weight_decay": weight_decay}, {"params": [params["b"]], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    start = {k: tensor(v) for k, v in params.items()}
    steps = []
    for step in range(8):
        rate = 0.05 / (step + 1)
        gradients = {"w": scale * r(5, 9), "b": scale * r(11)}
        for name, gradient in gradients.items():
            params[name].grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm).item() if max_norm else None
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()
        steps.append({"rate": rate, "gradients": {k: tensor(v) for k, v in gradients.items()}, "norm": norm,
                      "weights": {k: tensor(v) for k, v in params.items()}})
    m = {k: tensor(adamw.state[params[k]]["exp_avg"]) for k in ("w", "b")}
    v = {k: tensor(adamw.state[params[k]]["exp_avg_sq"]) for k in ("w", "b")}
    return {"weightDecay": weight_decay, "maxGradNorm": max_norm, "start": start, "steps": steps, "m": m, "v": v}


def generator(seed):
    while True:
        seed = (seed * 1664525 + 1013904223) % 2**32
        yield seed / 2**32


def toy():
    """test/steps/ml/runtime/toy.ts in double precision: for each gradient its norm and its sums with fixed signs."""
    vocabulary, positions, hidden, layers, heads, ffn, classes, batch, length = 2000, 64, 64, 2, 4, 256, 3, 16, 64
    g = generator(1)
    w = {}

    def normal(name, *shape):
        count = math.prod(shape)
        values = []
        for _ in range(count):
            a, b = next(g), next(g)
            values.append(0.05 * math.sqrt(-2 * math.log(1 - a)) * math.cos(2 * math.pi * b))
        w[name] = torch.tensor(values).float().double().view(*shape)

    def pair(name, out, width=None):
        normal(f"{name}.weight", *([out, width] if width else [out]))
        normal(f"{name}.bias", out)
        if not width:
            w[f"{name}.weight"] = (w[f"{name}.weight"] + 1).float().double()

    normal("word.weight", vocabulary, hidden)
    normal("position.weight", positions, hidden)
    normal("type.weight", 2, hidden)
    pair("norm", hidden)
    for i in range(layers):
        for name in ("query", "key", "value", "attention"):
            pair(f"layer.{i}.{name}", hidden, hidden)
        pair(f"layer.{i}.attention.norm", hidden)
        pair(f"layer.{i}.intermediate", ffn, hidden)
        pair(f"layer.{i}.output", hidden, ffn)
        pair(f"layer.{i}.output.norm", hidden)
    pair("pooler", hidden, hidden)
    pair("classifier", classes, hidden)
    w = {k: v.requires_grad_() for k, v in w.items()}

    g = generator(1)
    padded = lambda i: i >= batch * length - length / 2
    ids = torch.tensor([0 if padded(i) else 1 + math.floor(next(g) ** 2 * (vocabulary - 1)) for i in range(batch * length)]).view(batch, length)
    types = torch.tensor([int(i % length > length / 2) for i in range(batch * length)]).view(batch, length)
    mask = torch.tensor([0.0 if padded(i) else 1.0 for i in range(batch * length)]).double().view(batch, 1, 1, length)
    labels = torch.tensor([math.floor(next(g) * classes) for _ in range(batch)])

    norm = lambda x, name: F.layer_norm(x, (hidden,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)
    linear = lambda x, name: F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])
    split = lambda t: t.view(batch, length, heads, -1).transpose(1, 2)
    x = norm(F.embedding(ids, w["word.weight"], padding_idx=0) + F.embedding(types, w["type.weight"]) + w["position.weight"][:length], "norm")
    for i in range(layers):
        q, k, v = (split(linear(x, f"layer.{i}.{name}")) for name in ("query", "key", "value"))
        scores = q @ k.transpose(-1, -2) / math.sqrt(hidden / heads) + (1 - mask) * torch.finfo(torch.float32).min
        context = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, hidden)
        x = norm(x + linear(context, f"layer.{i}.attention"), f"layer.{i}.attention.norm")
        x = norm(x + linear(F.gelu(linear(x, f"layer.{i}.intermediate")), f"layer.{i}.output"), f"layer.{i}.output.norm")
    loss = F.cross_entropy(linear(torch.tanh(linear(x[:, 0], "pooler")), "classifier"), labels)
    loss.backward()
    gradients = {}
    for name, weight in w.items():
        flat = weight.grad.flatten()
        g = generator(7)
        signs = torch.tensor([1.0 if next(g) < 0.5 else -1.0 for _ in range(4 * len(flat))]).double().view(4, -1)
        gradients[name] = {"norm": flat.norm().item(), "sums": (signs @ flat).tolist()}
    return {"loss": loss.item(), "gradients": gradients}


print(json.dumps({"ops": ops, "optimizer": [optimizer(0.0, 0.0, 1.0), optimizer(0.1, 1.0, 1.0), optimizer(0.01, 1.0, 0.01)], "toy": toy(), "rotary": rotary()}))
