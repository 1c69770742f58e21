"""
Makes attribution.json: for the text classifiers of each family below test/golden, Captum's token attributions (InputXGradient of
the output of the word embeddings, summed over the hidden dimension) for the logit of one label in each row. For ModernBERT the
input is the output of the norm that follows the word embeddings; before a norm, gradient × input is 0 but for rounding.

    python test/golden/attribution.py           (captum 0.9, torch 2.13, transformers 5.23)
"""

import json
from pathlib import Path

import torch
from captum.attr import LayerGradientXActivation
from transformers import AutoModelForSequenceClassification

here = Path(__file__).parent
FAMILIES = ["bert", "roberta", "distilbert", "albert", "xlm-roberta", "camembert", "electra", "modernbert"]
FOLDERS = [*FAMILIES, "gpt2/text-classification", "bert/multi_label_classification", "bert/regression"]


def attributions(folder):
    model = AutoModelForSequenceClassification.from_pretrained(here / folder / "checkpoint").eval()
    values = json.loads((here / folder / "inputs.json").read_text())
    given = {name: torch.tensor(values[name]) for name in ("input_ids", "attention_mask", "token_type_ids") if name in values}
    names = list(given)
    rows = given["input_ids"].shape[0]
    target = [row % model.config.num_labels for row in range(rows)]
    logits = lambda *tensors: model(**dict(zip(names, tensors))).logits
    layer = model.model.embeddings.norm if model.config.model_type == "modernbert" else model.get_input_embeddings()
    method = LayerGradientXActivation(logits, layer)
    found = method.attribute(tuple(given.values()), target=torch.tensor(target)).sum(-1)
    return {"target": target, "attributions": found.tolist()}


(here / "attribution.json").write_text(json.dumps({folder: attributions(folder) for folder in FOLDERS}) + "\n")
