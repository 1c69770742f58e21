"""
Golden values for tokenizers in the form of vocab.txt, or of vocab.json and merges.txt.

    pip install transformers==5.23.0 && python test/golden/tokenizer.py

Makes small vocabularies from the lines below. For each it writes, into test/golden/tokenizer/<name>/, the files as in the hub's older
repositories, and `expected.json`: the output of transformers' own tokenizer class with these files for unusual texts and pairs.
"""

import json
import re
import unicodedata
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import BertTokenizer, GPT2Tokenizer, RobertaTokenizer

here = Path(__file__).parent / "tokenizer"

LINES = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "Win $1,000.50 now!!! Visit the website or write to us today.",
    "Ärger über größere Straßen; naïve café, résumé, coöperate.",
    "Meeting moved to Monday at ten, bring the numbers and the notes.",
    "the cat sat on the mat and the rat sat on the hat",
]

TEXTS = [
    "",
    " ",
    "hello world",
    "  leading and   inner spaces \t tabs\nand\r\nlines ",
    "The Quick BROWN fox, doesn't jump!",
    "naïve CAFÉ résumé cafe\u0301 Straße",
    "朝鮮 and 日本語 mixed",
    "שלום עולם مرحبا بالعالم",
    "😀 emoji 👩‍👩‍👧 family \U0001F1E9\U0001F1EA",
    "nul\u0000 bell\u0007 zero\u200bwidth \ufeff bom \ufffd",
    "x" * 120 + " end",
    "$1,000.50 #tag @user a_b-c e-mail https://example.org/?q=1&b=2",
    "[MASK] [SEP] [CLS] <mask> <s> </s> <|endoftext|> <pad> tail",
    "word <mask> word",
    "İstanbul ǅ ﬁ Ⅳ",
]

PAIRS = [["the cat sat", "on the mat"], ["", "only the second"], ["first only", ""]]

SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "gpt2": ["<|endoftext|>"],
}


def save(name, model_type, files, options, load):
    folder = here / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}) + "\n")
    if options:
        (folder / "tokenizer_config.json").write_text(json.dumps(options) + "\n")
    tokenizer = load(folder)
    expected = [
        {"text": text, "ids": encoding.ids, "types": encoding.type_ids, "offsets": encoding.offsets}
        for text in [*TEXTS, *PAIRS]
        for encoding in [tokenizer.backend_tokenizer.encode(*([text] if isinstance(text, str) else text))]
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in expected)
    (folder / "expected.json").write_text(f"[\n{lines}\n]\n")


for name, options in {
    "bert-uncased": {},
    "bert-cased": {"do_lower_case": False},
    "bert-accents": {"strip_accents": False, "tokenize_chinese_chars": False},
    "electra": {"do_lower_case": False, "tokenizer_class": "ElectraTokenizer"},
}.items():
    text = "\n".join(LINES)
    parts = set(re.findall(r"\w+|[^\w\s]", unicodedata.normalize("NFD", text.lower()) + text))
    # A WordPiece trainer breaks ties randomly, so the vocabulary is whole words and all prefixes and suffixes of up to three characters.
    pieces = {part[:i] for part in parts for i in (1, 2, 3)} | {"##" + part[-i:] for part in parts for i in (1, 2, 3)} | {"the", "quick", "meeting"}
    words = SPECIAL["bert"] + sorted(pieces)
    model_type = "electra" if name == "electra" else "bert"
    save(name, model_type, {"vocab.txt": "".join(f"{word}\n" for word in words)}, options, BertTokenizer.from_pretrained)

for name, load in {"roberta": RobertaTokenizer.from_pretrained, "gpt2": GPT2Tokenizer.from_pretrained}.items():
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(LINES * 3, vocab_size=330, min_frequency=2, special_tokens=SPECIAL[name], show_progress=False)
    made = json.loads(trainer.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in made["merges"])
    files = {"vocab.json": json.dumps(made["vocab"]) + "\n", "merges.txt": merges}
    save(name, name, files, {}, load)
    if name == "roberta":
        save("roberta-prefix", name, files, {"add_prefix_space": True}, load)
