"""
Makes test/golden/<family>/: a tiny random model of each family with transformers, and what it computes as a classifier; and
test/golden/<family>/<task>/ for each other task, including the problem types of text classification.

    python test/golden/make.py           (torch 2.13, transformers 5.23, safetensors)

checkpoint/            config.json and model.safetensors as save_pretrained writes them
inputs.json            ids, mask, token types and labels; logits without and, if the family has them, with token types; the loss.
                       For other tasks logits with token types, if the family has them
gradients.safetensors  the gradients of the loss, clipped to a global norm of 1
after.safetensors      the weights after one step of AdamW with them (lr 1e-3, weight decay 0.01 except for biases and norms)
"""

import json
from pathlib import Path

import torch
import transformers
from step import step, unsettle
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

small = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
    "id2label": {0: "no", 1: "perhaps", 2: "yes"},
    "label2id": {"no": 0, "perhaps": 1, "yes": 2},
    "problem_type": "single_label_classification",
}
# The same with DistilBERT's names.
small_distilbert = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48} | {
    key: small[key] for key in small if key not in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
}
# Blocks 0 and 1 are of the first group, 2 of the second.
small_albert = small | {"embedding_size": 16, "num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}
# Layer 1 reaches 4 tokens on each side, layers 0 and 2 all.
small_modernbert = small | {"num_hidden_layers": 3, "global_attn_every_n_layers": 2, "local_attention": 8}
small_modernbert |= {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}


def lengths_of(config, *lengths):
    """The outputs for padding without a token in reach depend on how transformers computes attention."""
    return [max(length, lengths[0] - 4) for length in lengths] if config.model_type == "modernbert" else list(lengths)


def make(model):
    config = model.config
    folder = Path(__file__).parent / config.model_type
    unsettle(model)
    model.save_pretrained(folder / "checkpoint")

    lengths = lengths_of(config, 21, 7, 16, 1)
    pad = config.pad_token_id
    ids = torch.randint(pad + 1, config.vocab_size, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = ids * mask + pad * (1 - mask)
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        ids[0, 5] = pad  # within a text: it takes no position
    types = (torch.arange(max(lengths)) > 4).long() * mask
    labels = torch.tensor([2, 0, 1, 1])
    values = {"input_ids": ids.tolist(), "attention_mask": mask.tolist()}
    if getattr(config, "type_vocab_size", 1) > 1:
        with torch.no_grad():
            typed = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        values |= {"token_type_ids": types.tolist(), "logits_with_types": typed.tolist()}
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    values |= {"labels": labels.tolist(), "logits": out.logits.tolist(), "loss": out.loss.item()}

    values["grad_norm"] = step(model, out.loss, folder)
    (folder / "inputs.json").write_text(json.dumps(values) + "\n")


for kind, config in [
    (BertForSequenceClassification, BertConfig(**small)),
    (DistilBertForSequenceClassification, DistilBertConfig(**small_distilbert)),
    (RobertaForSequenceClassification, RobertaConfig(**small)),
    (AlbertForSequenceClassification, AlbertConfig(**small_albert)),
    (XLMRobertaForSequenceClassification, XLMRobertaConfig(**small)),
    (CamembertForSequenceClassification, CamembertConfig(**small, type_vocab_size=1)),
    (ElectraForSequenceClassification, ElectraConfig(**small, embedding_size=16)),
    (ModernBertForSequenceClassification, ModernBertConfig(**small_modernbert)),
]:
    torch.manual_seed(0)
    make(kind(config).eval())


def task_labels(task, ids, mask, config):
    """The labels of a task, by the names of the arguments."""
    batch, length = ids.shape
    if task == "token-classification":
        labels = torch.randint(0, 3, (batch, length))
        return {"labels": torch.where((mask == 1) & (torch.rand(batch, length) < 0.7), labels, -100)}
    if task == "question-answering":
        return {"start_positions": torch.tensor([3, 0, 9, 0]), "end_positions": torch.tensor([5, 0, 9, 0])}
    if task == "masked-lm":
        return {"labels": torch.where((mask == 1) & (torch.rand(batch, length) < 0.3), ids, -100)}
    if task == "multi_label_classification":
        return {"labels": torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])}
    return {"labels": torch.tensor([0.5, -1.25, 3.0, 0.0])}  # regression


def make_task(model, task):
    config = model.config
    folder = Path(__file__).parent / config.model_type / task
    unsettle(model)
    model.save_pretrained(folder / "checkpoint")
    lengths = lengths_of(config, 13, 7, 11, 1)
    pad = config.pad_token_id
    ids = torch.randint(pad + 1, config.vocab_size, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = ids * mask + pad * (1 - mask)
    given = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 1:
        given["token_type_ids"] = (torch.arange(max(lengths)) > 4).long() * mask
    labels = task_labels(task, ids, mask, config)
    out = model(**given, **labels)
    outputs = ["start_logits", "end_logits"] if task == "question-answering" else ["logits"]
    values = {name: value.tolist() for name, value in (given | labels).items()}
    values |= {name: out[name].tolist() for name in outputs} | {"loss": out.loss.item()}
    values["grad_norm"] = step(model, out.loss, folder)
    (folder / "inputs.json").write_text(json.dumps(values) + "\n")


tiny = small | {"vocab_size": 41, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 18}
tiny_distilbert = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24} | {
    key: tiny[key] for key in tiny if key not in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
}
tiny_modernbert = small_modernbert | tiny | {"num_hidden_layers": 3}
BIASES = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}
# Other values of ModernBERT's config.
MODERN = {
    "multi_label_classification": BIASES | {"classifier_pooling": "mean"},
    "regression": {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]},
    "token-classification": {"norm_bias": True, "classifier_activation": "silu", "hidden_activation": "gelu_new"},
    "question-answering": BIASES,
    "masked-lm": {"rope_parameters": {"full_attention": {"rope_theta": 100.0}, "sliding_attention": {"rope_theta": 20.0}}},
}
CLASSES = {
    "multi_label_classification": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "masked-lm": "ForMaskedLM",
}
for family, options in {
    "Bert": tiny,
    "DistilBert": tiny_distilbert,
    "Roberta": tiny,
    "Albert": tiny | {"embedding_size": 8, "num_hidden_groups": 2},
    "XLMRoberta": tiny | {"type_vocab_size": 1},
    "Camembert": tiny | {"type_vocab_size": 1},
    "Electra": tiny | {"embedding_size": 8},
    "ModernBert": tiny_modernbert,
}.items():
    for task, ending in CLASSES.items():
        torch.manual_seed(0)
        own = {key: value for key, value in options.items() if key != "problem_type"}
        if task in ("multi_label_classification", "regression"):
            own["problem_type"] = task
        if task in ("question-answering", "masked-lm"):
            del own["id2label"], own["label2id"]  # their heads would have as many outputs
        if family == "ModernBert":
            own |= MODERN[task]
        if family == "Electra" and task == "question-answering":
            own["embedding_size"] = own["hidden_size"]  # then no projection follows the embeddings
        if task == "regression":
            own |= {"id2label": {0: "score"}, "label2id": {"score": 0}}
        config = getattr(transformers, f"{family}Config")(**own)
        make_task(getattr(transformers, f"{family}{ending}")(config).eval(), task)
