"""
Golden values for the tokenizers of XLM-RoBERTa, CamemBERT and ModernBERT, whose folders have a tokenizer.json.

    pip install transformers==5.23.0 sentencepiece==0.2.3 protobuf && python test/golden/tokenizer-json.py

It trains small models on the lines of tokenizer.py. It writes the tokenizer.json of such a folder into
test/golden/tokenizer/<family>/, and `expected.json`, the outputs of transformers for the texts and pairs of
tokenizer.py; <family>-prefix is the same without a space before the first word. The ids of the first two are compared with those of sentencepiece, because fairseq, which trained the
models, counted them differently.
"""

import io
import json
import tempfile
from pathlib import Path

import sentencepiece
from tokenizer import LINES, TEXTS, save
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, CamembertTokenizer, XLMRobertaTokenizer

# The normalizer of the real models (NFKC) takes 300 kB; some of its rules, and white space, are enough.
RULES = {
    "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u200b": "", "\ufeff": "", "ﬁ": "fi", "Ⅳ": "IV", "e\u0301": "é", "ǅ": "Dž",
}  # fmt: skip


def trained():
    """A SentencePiece model whose pieces 0, 1 and 2 are <unk>, <s> and </s>."""
    with tempfile.TemporaryDirectory() as temporary:
        rules = Path(temporary) / "rules.tsv"
        points = lambda text: " ".join(f"{ord(c):X}" for c in text)
        rules.write_text("".join(f"{points(old)}\t{points(new)}\n" for old, new in RULES.items()))
        made = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LINES * 4), model_writer=made, model_type="unigram", vocab_size=200, character_coverage=0.98,
            normalization_rule_tsv=str(rules), hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
        return made.getvalue()


def converted(model, file, kind):
    """The tokenizer.json that transformers creates from a SentencePiece model."""
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / file).write_bytes(model)
        kind.from_pretrained(temporary).save_pretrained(temporary)
        return compact((Path(temporary) / "tokenizer.json").read_text())


def compact(text):
    return json.dumps(json.loads(text), ensure_ascii=True, separators=(",", ":")) + "\n"


def byte_level():
    """A tokenizer like ModernBERT's: special tokens follow the vocabulary, and runs of spaces are separate tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=310, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES * 3, trainer)
    tokenizer.add_tokens([AddedToken("|||IP_ADDRESS|||", normalized=True)])
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in (4, 3, 2)])
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    tokenizer.add_special_tokens([*special, AddedToken("[MASK]", lstrip=True)])
    around = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", around)
    tokenizer.decoder = decoders.ByteLevel()
    return compact(tokenizer.to_str())


if __name__ == "__main__":
    model = trained()
    judge = sentencepiece.SentencePieceProcessor(model_proto=model)
    for name, kind, offset, begin, end in [
        ("xlm-roberta", XLMRobertaTokenizer, 1, 0, 2),
        ("camembert", CamembertTokenizer, 4, 5, 6),
    ]:
        made = converted(model, "sentencepiece.bpe.model", kind)
        options = {"tokenizer_class": kind.__name__, "mask_token": "<mask>"}
        save(name, name, {"tokenizer.json": made}, options, AutoTokenizer.from_pretrained)
        save(f"{name}-prefix", name, {"tokenizer.json": made}, options | {"add_prefix_space": False}, AutoTokenizer.from_pretrained)
        tokenizer = AutoTokenizer.from_pretrained(Path(__file__).parent / "tokenizer" / name)
        for text in (text for text in TEXTS if "<" not in text):
            ids = [3 if id == judge.unk_id() else id + offset for id in judge.encode(text)]
            assert tokenizer(text).input_ids == [begin, *ids, end], (name, text, tokenizer(text).input_ids, ids)
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    save("modernbert", "modernbert", {"tokenizer.json": byte_level()}, options | {"mask_token": "[MASK]"}, AutoTokenizer.from_pretrained)
