"""Counts the parameters of the models in steps/choose/hub-models.ts with transformers, and writes hub-models.json.

    python test/golden/hub-models.py           (torch 2.13, transformers 5.23; needs `npm ci`)

The weights exist only as shapes, so nothing is downloaded.
"""

import json
import os
import subprocess
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, ElectraForPreTraining


def parameters(config):
    kind = config.pop("model_type")
    own = CONFIG_MAPPING[kind](**config)
    with torch.device("meta"):
        if kind == "electra":
            return ElectraForPreTraining(own).num_parameters()
        auto = {"gpt2": AutoModelForCausalLM, "t5": AutoModelForSeq2SeqLM}.get(kind, AutoModelForMaskedLM)
        model = auto.from_config(own)
    # Some versions tie the output layer of T5 v1.1 although its configuration says otherwise.
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return model.num_parameters() + (own.vocab_size * own.d_model if tied and config.get("tie_word_embeddings") is False else 0)


root = Path(os.environ.get("TUNESMITH_GOLDEN", Path(__file__).parent)).parent.parent
table = "import('./steps/choose/hub-models.ts').then((m) => console.log(JSON.stringify(m.HUB_MODELS)))"
models = subprocess.run(["node_modules/.bin/node", "--import", "tsx", "-e", table], cwd=root, stdout=subprocess.PIPE, check=True).stdout
counts = {model["name"]: parameters(model["config"]) for model in json.loads(models)}
Path(__file__).with_suffix(".json").write_text(json.dumps(counts, indent=2) + "\n")
