"""
Golden values for the step `reduce`: tiny random models of every family with their tokenizers, in test/golden/reduce/<family>/, and
in expected.json what transformers tokenizes and computes with them, before anything is reduced.

    python test/golden/reduce.py                    (torch 2.13, transformers 5.23; needs the results of tokenizer.py and unigram.py)
    python test/golden/reduce.py check FOLDER…      whether transformers computes the same with reduced folders; their expected.json
                                                    is that of the model
    python test/golden/reduce.py dtype FOLDER…      whether transformers reads the folders in the type of their config.json, and every
                                                    weight as it rounds the family's model itself
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers as tf

here = Path(__file__).parent
TEXTS = [
    "the cat sat on the mat",
    "The quick brown fox doesn't jump!",
    "Meeting moved to Monday, bring $1,000 and the rat",
]
WIDTH = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64}
FAMILIES = {
    "bert": ("bert-uncased", tf.BertConfig, tf.BertForMaskedLM, WIDTH),
    "electra": ("electra", tf.ElectraConfig, tf.ElectraForMaskedLM, WIDTH | {"embedding_size": 12}),
    "distilbert": ("bert-uncased", tf.DistilBertConfig, tf.DistilBertForMaskedLM, {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24}),
    "roberta": ("roberta", tf.RobertaConfig, tf.RobertaForMaskedLM, WIDTH),
    "camembert": ("camembert", tf.CamembertConfig, tf.CamembertForMaskedLM, WIDTH),
    "xlm-roberta": ("xlm-roberta", tf.XLMRobertaConfig, tf.XLMRobertaForMaskedLM, WIDTH),
    "albert": ("unigram", tf.AlbertConfig, tf.AlbertForMaskedLM, WIDTH | {"embedding_size": 12}),
    "modernbert": ("modernbert", tf.ModernBertConfig, tf.ModernBertForMaskedLM, WIDTH | {"global_attn_every_n_layers": 2, "local_attention": 8}),
    "gpt2": ("gpt2", tf.GPT2Config, tf.GPT2LMHeadModel, {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64}),
    "t5": ("sentencepiece", tf.T5Config, tf.T5ForConditionalGeneration, {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}),
}
# T5 has more rows than its tokenizer has tokens.
SPARE = {"t5": 5}


def make(family):
    source, config_class, model_class, size = FAMILIES[family]
    torch.manual_seed(7)
    folder = here / "tokenizer" / source
    if source in ("unigram", "sentencepiece"):
        options = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        tokenizer = tf.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **options)
    else:
        tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    rows = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1) + SPARE.get(family, 0)
    ids = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id")
        for role in ("pad", "bos", "eos", "cls", "sep")
        if getattr(tokenizer, f"{role}_token_id", None) is not None
    }
    if family == "modernbert":
        ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    if family == "t5":
        ids["decoder_start_token_id"] = ids["pad_token_id"]
    model = model_class(config_class(vocab_size=rows, **size, **ids)).eval()
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, 1.0 if "norm" in name.lower() and "weight" in name else 0.0, 0.3)
    model.tie_weights()
    out = here / "reduce" / family
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    config = json.loads((out / "tokenizer_config.json").read_text())
    config.pop("local_files_only", None)  # says whether HF_HUB_OFFLINE was set
    write(out / "tokenizer_config.json", config)
    write(out / "expected.json", computed(tokenizer, model))


@torch.no_grad()
def computed(tokenizer, model):
    rows = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        tokens = tokenizer.convert_ids_to_tokens(ids)
        inputs = {"input_ids": torch.tensor([ids])}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id, *ids[:3]]])
        logits = model(**inputs).logits[0, -1]
        rows.append({"text": text, "tokens": tokens, "logits": [logits[id].item() for id in ids]})
    return rows


def check(folder):
    messages = []
    warnings.showwarning = lambda message, *_: messages.append(str(message))
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    config = tf.AutoConfig.from_pretrained(folder)
    model_class = FAMILIES[config.model_type][2]
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    lost = {key: sorted(value) for key, value in info.items() if value}
    if lost or messages:
        raise SystemExit(f"{folder}: {lost} {messages}")
    if model.get_input_embeddings().weight.shape[0] != config.vocab_size:
        raise SystemExit(f"{folder}: the embeddings do not have vocab_size rows")
    for now, then in zip(computed(tokenizer, model.eval()), json.loads((Path(folder) / "expected.json").read_text()), strict=True):
        if now["tokens"] != then["tokens"]:
            raise SystemExit(f"{folder}: {then['text']!r} is {now['tokens']}, not {then['tokens']}")
        error = max(abs(a - b) for a, b in zip(now["logits"], then["logits"], strict=True))
        if error > 1e-6 * max(1, *map(abs, then["logits"])):
            raise SystemExit(f"{folder}: logits of {then['text']!r} differ by {error}")
    print(f"{folder}: {config.vocab_size} tokens, the same logits")


def check_dtype(folder):
    config = tf.AutoConfig.from_pretrained(folder)
    model_class = FAMILIES[config.model_type][2]
    model = model_class.from_pretrained(folder)
    if model.dtype != config.dtype:
        raise SystemExit(f"{folder}: the model is read as {model.dtype}")
    now, then = model.state_dict(), model_class.from_pretrained(here / "reduce" / config.model_type).state_dict()
    for name, weight in then.items():
        # transformers reads some weights of T5 into float32 whatever their type is.
        if not torch.equal(now[name].float(), weight.to(config.dtype).float()):
            raise SystemExit(f"{folder}: {name} is not the original's in {config.dtype}")
    print(f"{folder}: {config.dtype}, the same weights")


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if sys.argv[1:2] == ["check"]:
    for folder in sys.argv[2:]:
        check(folder)
elif sys.argv[1:2] == ["dtype"]:
    for folder in sys.argv[2:]:
        check_dtype(folder)
else:
    for family in FAMILIES:
        make(family)
