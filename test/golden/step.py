"""Shared by the scripts that make golden models: the versions that they need, and the training step that is stored."""

import torch
import transformers
from safetensors.torch import save_file

assert torch.__version__.startswith("2.13.") and transformers.__version__.startswith("5.23."), "other versions may draw other weights"


def is_plain(name):
    """Biases and norms, by the names in every family."""
    return name.endswith("bias") or any(norm in name for norm in ("LayerNorm", "layer_norm", ".ln_", "norm."))


def is_undecayed(name):
    """As in Trainer.get_decay_parameter_names, T5's relative attention biases are biases."""
    return is_plain(name) or "bias" in name


def unsettle(model, factor=1):
    """Changes biases and norms, which are initialized to 0 and 1, so that errors with them show; multiplies all other weights by `factor`."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_plain(name):
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.mul_(factor)


def parameters_of(model):
    """The parameters by name, as save_pretrained writes them: a tied weight has the name of the weight it is tied to."""
    tied = model._tied_weights_keys or {}
    for name, weight in model.named_parameters():
        original = tied.get(name)
        yield (original if original and model.get_parameter(original) is weight else name), weight


def step(model, loss, folder):
    """
    One step of AdamW: the gradients of `loss`, clipped to a global norm of 1, and the weights after it are written to `folder`.
    Returns the norm before clipping.
    """
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
    save_file({n: p.grad.contiguous() for n, p in parameters_of(model)}, folder / "gradients.safetensors", {"format": "pt"})
    plain = [p for n, p in parameters_of(model) if is_undecayed(n)]
    decayed = [p for n, p in parameters_of(model) if not is_undecayed(n)]
    torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=1e-3).step()
    save_file({n: p.detach().contiguous() for n, p in parameters_of(model)}, folder / "after.safetensors", {"format": "pt"})
    return norm
