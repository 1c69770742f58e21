"""
Makes test/golden/gpt2/ and test/golden/t5/: tiny random generating models, and what transformers computes with them.

    python test/golden/make-generating.py           (torch 2.13, transformers 5.23, safetensors)

<family>/<task>/           checkpoint, inputs, gradients and the weights after a step, as in make.py; T5 v1.1 is t5/gated, t5/tied predicts
                           with the embeddings, and <family>/varied has rare values in config.json
<family>/<task>/decode.json   a prompt and the tokens after it, and the logits of each from past_key_values
t5/buckets.json            the buckets of distances from -600 to 600, in the encoder and in the decoder
"""

import json
from pathlib import Path

import torch
from step import step, unsettle
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.t5.modeling_t5 import T5Attention

GOLDEN = Path(__file__).parent


def make(model, folder, given, labels, factor):
    unsettle(model, factor)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder / "checkpoint")
    out = model(**given, labels=labels)
    values = {name: value.tolist() for name, value in given.items()} | {"labels": labels.tolist()}
    values |= {"logits": out.logits.tolist(), "loss": out.loss.item()}
    values["decode"] = decoding(model, given) if "CausalLM" in type(model).__name__ or "LMHead" in type(model).__name__ else None
    if isinstance(model, T5ForConditionalGeneration):
        values["decode"] = decoding_t5(model, given, labels)
    values["grad_norm"] = step(model, out.loss, folder)
    (folder / "inputs.json").write_text(json.dumps(values) + "\n")


def padded(lengths, low, high, pad):
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.randint(low, high, mask.shape) * mask + pad * (1 - mask), mask


def decoding(model, given):
    """The rows padded on the left, in three calls: all but five tokens, then three, one and one."""
    lengths = given["attention_mask"].sum(1).tolist()
    rows = [ids[:n] for ids, n in zip(given["input_ids"], lengths) if n > 5]
    longest = max(len(row) for row in rows)
    ids = torch.stack([torch.cat([torch.zeros(longest - len(row), dtype=torch.long), row]) for row in rows])
    mask = torch.stack([(torch.arange(longest) >= longest - len(row)).long() for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past, calls, at = None, [], 0
    for count in [longest - 5, 3, 1, 1]:
        end = at + count
        with torch.no_grad():
            out = model(
                input_ids=ids[:, at:end],
                attention_mask=mask[:, :end],
                position_ids=positions[:, at:end],
                past_key_values=past,
                use_cache=True,
            )
        past = out.past_key_values
        calls.append({"tokens": count, "logits": out.logits[:, -1].tolist()})
        at = end
    return {"input_ids": ids.tolist(), "attention_mask": mask.tolist(), "position_ids": positions.tolist(), "calls": calls}


def decoding_t5(model, given, labels):
    """Targets of one length, in three calls."""
    start = model.config.decoder_start_token_id
    ids = torch.cat([torch.full((len(labels), 1), start), labels[:, :-1].clamp(min=2)], 1)
    past, calls, at = None, [], 0
    encoded = model.encoder(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
    for count in [1, 4, 1, ids.shape[1] - 6]:
        with torch.no_grad():
            out = model(
                encoder_outputs=encoded,
                attention_mask=given["attention_mask"],
                decoder_input_ids=ids[:, at : at + count],
                past_key_values=past,
                use_cache=True,
            )
        past = out.past_key_values
        calls.append({"tokens": count, "logits": out.logits[:, -1].tolist()})
        at += count
    return {"decoder_input_ids": ids.tolist(), "calls": calls}


tiny_gpt2 = {
    "vocab_size": 43,
    "n_positions": 40,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(**tiny_gpt2)).eval()
ids, mask = padded([15, 7, 11, 2], 1, 43, 0)
labels = torch.where((mask == 1) & (torch.rand(mask.shape) < 0.7), ids, -100)
make(model, GOLDEN / "gpt2" / "causal-lm", {"input_ids": ids, "attention_mask": mask}, labels, 8.0)

torch.manual_seed(0)
varied = {"n_inner": 22, "activation_function": "relu", "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}
model = GPT2LMHeadModel(GPT2Config(**tiny_gpt2, **varied, reorder_and_upcast_attn=True)).eval()
ids, mask = padded([15, 7, 11, 2], 1, 43, 0)
labels = torch.where((mask == 1) & (torch.rand(mask.shape) < 0.7), ids, -100)
make(model, GOLDEN / "gpt2" / "varied", {"input_ids": ids, "attention_mask": mask}, labels, 8.0)

torch.manual_seed(0)
names = {"id2label": {0: "no", 1: "perhaps", 2: "yes"}, "label2id": {"no": 0, "perhaps": 1, "yes": 2}}
config = GPT2Config(**tiny_gpt2, pad_token_id=0, n_inner=24, **names, problem_type="single_label_classification")
model = GPT2ForSequenceClassification(config).eval()
ids, mask = padded([13, 7, 11, 1], 1, 43, 0)
make(model, GOLDEN / "gpt2" / "text-classification", {"input_ids": ids, "attention_mask": mask}, torch.tensor([2, 0, 1, 1]), 8.0)

tiny_t5 = {
    "vocab_size": 41,
    "d_model": 16,
    "d_kv": 6,  # heads * d_kv is not d_model
    "d_ff": 24,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
for name, options in {
    "seq2seq": {},
    "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    # transformers 5 ties the two in a randomly initialized v1.1.
    "tied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "varied": {"relative_attention_num_buckets": 6, "relative_attention_max_distance": 9, "num_layers": 3, "num_decoder_layers": 2},
}.items():
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config(**{**tiny_t5, **options})).eval()
    if name == "gated":
        model.lm_head.weight = torch.nn.Parameter(torch.randn(41, 16) * 0.3)
    if name == "varied":
        # Makes the output depend on the input: otherwise v1.0, which predicts with its embeddings, repeats its last token.
        with torch.no_grad():
            for weight_name, weight in model.named_parameters():
                weight.mul_(4.0 if "EncDecAttention" in weight_name else 1.0)
    ids, mask = padded([19, 7, 11, 1], 2, 41, 0)
    target, target_mask = padded([9, 3, 12, 5], 2, 41, 0)
    labels = torch.where(target_mask == 1, target, -100)
    make(model, GOLDEN / "t5" / name, {"input_ids": ids, "attention_mask": mask}, labels, 1.0)

distances = torch.arange(-600, 601)
buckets = {
    "bidirectional": T5Attention._relative_position_bucket(distances, True, 32, 128).tolist(),
    "causal": T5Attention._relative_position_bucket(distances, False, 32, 128).tolist(),
}
(GOLDEN / "t5" / "buckets.json").write_text(json.dumps(buckets) + "\n")
