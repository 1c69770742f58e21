"""
Golden values for a SentencePiece unigram tokenizer with its own normalizer and byte fallback.

    pip install sentencepiece==0.2.3 tokenizers==0.23.3 protobuf && python test/golden/unigram.py

Trains a small model and writes it into test/golden/tokenizer/sentencepiece/ as the tokenizer.json that transformers' converters make of
such a model (with its normalizer, scores and decoder), and `expected.json`: sentencepiece's ids of unusual texts, and its texts of ids.
"""

import io
import json
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

folder = Path(__file__).parent / "tokenizer" / "sentencepiece"
LINES = [
    "The quick brown fox jumps over the lazy dog, doesn't it?",
    "Win $1,000.50 now!!! Visit the website or write to us today.",
    "Ärger über größere Straßen; naïve café, résumé, coöperate.",
    "Meeting moved to Monday at ten, bring the numbers and the notes.",
    "the cat sat on the mat and the rat sat on the hat",
    "a large vehicle that carries many passengers; any of various plants",
    "猫が好きです。犬も好き。",
]

# The normalizer of most models (NFKC) takes 300 kB: some of its rules, and white space, suffice.
RULES = {
    "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u2003": " ", "\u3000": " ", "\u200b": "", "\ufeff": "",
    "ﬁ": "fi", "ﬂ": "fl", "Ⅳ": "IV", "½": "1⁄2", "…": "...", "Ａ": "A", "ａ": "a", "１": "1", "！": "!", "㎏": "kg", "e\u0301": "é", "ǅ": "Dž",
}

TEXTS = [
    "",
    " ",
    "hello world",
    "  leading and   inner spaces \t tabs\nand\r\nlines ",
    "The Quick BROWN fox, doesn't jump!",
    "naïve CAFÉ résumé cafe\u0301 Straße",
    "猫 and 日本語 mixed",
    "שלום עולם مرحبا بالعالم",
    "😀 emoji 👩‍👩‍👧 family \U0001F1E9\U0001F1EA",
    "nul\u0000 bell\u0007 zero\u200bwidth \ufeff bom \ufffd",
    "x" * 120 + " end",
    "$1,000.50 #tag @user a_b-c e-mail https://example.org/?q=1&b=2",
    "ﬁne ﬂow Ⅳ ½ … Ａａ１！ ㎏ ǅ",
    "non\u00a0breaking\u2003em\u3000ideographic",
    "a lower one eighth \u2581 and \u2582",
]

with tempfile.TemporaryDirectory() as temporary:
    rules = Path(temporary) / "rules.tsv"
    points = lambda text: " ".join(f"{ord(c):X}" for c in text)
    rules.write_text("".join(f"{points(old)}\t{points(new)}\n" for old, new in RULES.items()))
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 4), model_writer=made, model_type="unigram", vocab_size=460, byte_fallback=True,
        character_coverage=0.98, normalization_rule_tsv=str(rules), pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
        minloglevel=2,
    )
judge = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
proto = sentencepiece_model_pb2.ModelProto.FromString(made.getvalue())

tokenizer = Tokenizer(models.Unigram([(p.piece, p.score) for p in proto.pieces], unk_id=2, byte_fallback=True))
tokenizer.normalizer = normalizers.Sequence(
    [normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap), normalizers.Strip(left=True, right=True), normalizers.Replace(Regex(" {2,}"), " ")]
)
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])

folder.mkdir(exist_ok=True)
(folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True, separators=(",", ":")) + "\n")
rows = [{"text": text, "ids": judge.encode(text), "decoded": judge.decode(judge.encode(text))} for text in TEXTS]
(folder / "expected.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")

for row in rows:
    ours = tokenizer.encode(row["text"], add_special_tokens=False).ids
    if ours != row["ids"]:
        print(repr(row["text"]), [judge.id_to_piece(i) for i in row["ids"]], [judge.id_to_piece(i) for i in ours])
    if tokenizer.decode(ours) != row["decoded"]:
        print("decode", repr(row["text"]), repr(row["decoded"]), repr(tokenizer.decode(ours)))
