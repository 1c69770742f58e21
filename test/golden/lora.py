"""
Makes test/golden/lora/<family>/ from the classifiers in test/golden/<family>/checkpoint with PEFT: adapters with random A and B on our
default targets, and a trained pooler and classifier. For gpt2 and t5 it uses the generating models, whose heads are not trained.

    python test/golden/lora.py           (torch 2.13, transformers 5.23, peft 0.21, safetensors)

adapter_config.json                              as save_pretrained writes it, without PEFT's defaults for other methods
adapter_model.safetensors                        as save_pretrained writes it
values.json                                      logits of inputs.json's batch without token types, the loss, logits after merging
gradients.safetensors                            of the loss, by the adapter's names
"""

import json
import os
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

here = Path(__file__).parent
golden = Path(os.environ.get("TUNESMITH_GOLDEN", here))  # where the checkpoints are, if not beside this script
OWN = {
    "bert": (["query", "value"], ["pooler", "classifier"]),
    "roberta": (["query", "value"], ["classifier"]),
    "distilbert": (["q_lin", "v_lin"], ["pre_classifier", "classifier"]),
    "albert": (["query", "value"], ["pooler", "classifier"]),
    "xlm-roberta": (["query", "value"], ["classifier"]),
    "camembert": (["query", "value"], ["classifier"]),
    "electra": (["query", "value"], ["classifier"]),
    "modernbert": (["Wqkv"], ["head", "classifier"]),
    "gpt2": (["c_attn"], None),
    "t5": (["q", "v"], None),
}
WRITERS = {
    "gpt2": ("gpt2/causal-lm", AutoModelForCausalLM, "CAUSAL_LM"),
    "t5": ("t5/gated", AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
}

for family, (targets, modules) in OWN.items():
    torch.manual_seed(0)
    folder = here / "lora" / family
    folder.mkdir(parents=True, exist_ok=True)
    name, kind, task = WRITERS.get(family, (family, AutoModelForSequenceClassification, "SEQ_CLS"))
    base = kind.from_pretrained(golden / name / "checkpoint").eval()
    config = LoraConfig(
        r=3, lora_alpha=6, lora_dropout=0.0, target_modules=targets, modules_to_save=modules, task_type=task, init_lora_weights=False
    )
    model = get_peft_model(base, config).eval()
    for own, weight in model.named_parameters():
        if "modules_to_save" in own and not own.endswith("bias"):
            weight.data += 0.05 * torch.randn_like(weight)
    values = json.loads((golden / name / "inputs.json").read_text())
    inputs = {key: torch.tensor(values[key]) for key in ("input_ids", "attention_mask", "labels")}
    out = model(**inputs)
    out.loss.backward()
    trained = {own: weight for own, weight in model.named_parameters() if weight.requires_grad}
    save_file(
        get_peft_model_state_dict(model, {own: weight.grad.contiguous() for own, weight in trained.items()}),
        folder / "gradients.safetensors",
        {"format": "pt"},
    )
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config_file = folder / "adapter_config.json"
    saved = json.loads(config_file.read_text())
    for key in ("target_modules", "modules_to_save"):
        saved[key] = saved[key] and sorted(set(saved[key]))  # sets in PEFT, in no order
    told = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "bias", "fan_in_fan_out", "target_modules", "modules_to_save")
    config_file.write_text(json.dumps({key: saved[key] for key in told}) + "\n")
    values = {"logits": out.logits.tolist(), "loss": out.loss.item()}
    with torch.no_grad():
        values["merged"] = model.merge_and_unload()(**inputs).logits.tolist()
    (folder / "values.json").write_text(json.dumps(values) + "\n")
