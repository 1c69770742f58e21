"""
Golden values for truncation and windows: the output of transformers' fast tokenizers for unusual texts and pairs.

    pip install transformers==5.23.0 && python test/golden/windows.py

Lets tokenizer.py write test/golden/tokenizer/{bert-uncased,roberta,gpt2}, makes .../unigram/tokenizer.json in the form of SentencePiece
models, and reads nasty.txt, which has a text on each line. Writes into each folder `windows.json`, rows of
[text, pair or null, max_length, strategy, stride or null, windows], where a window is [ids, sequence ids, type ids, offsets in code
points]; and for two folders `windows-left.json`, with the truncation_side left.
With a stride: return_overflowing_tokens. Without: one window, truncated by the strategy, or null if transformers cannot truncate so.
"""

import collections
import json
import math
from pathlib import Path

import tokenizer  # noqa: F401  writes the folders
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast, RobertaTokenizer

here = Path(__file__).parent / "tokenizer"
LINES = [json.loads(line) for line in (here.parent / "nasty.txt").read_text(encoding="utf-8").splitlines()]


def unigram(folder):
    """XLM-RoBERTa's template and pieces of up to five characters, scored by their frequency."""
    words = [f"▁{word}" for line in LINES for word in line.split() if len(word) < 40]
    counts = collections.Counter(word[i : i + n] for word in words for n in range(1, 6) for i in range(len(word) - n + 1))
    kept = sorted(piece for piece, count in counts.items() if len(piece) == 1 or count > 2)
    total = sum(counts[piece] for piece in kept)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special] + [(piece, round(math.log(counts[piece] / total), 4)) for piece in kept]
    tokenizer = Tokenizer(models.Unigram(pieces + [("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens([*special, "<mask>"])
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str() + "\n", encoding="utf-8")
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")


LOADERS = {
    "bert-uncased": BertTokenizer.from_pretrained,
    "roberta": RobertaTokenizer.from_pretrained,
    "gpt2": GPT2Tokenizer.from_pretrained,
    "unigram": unigram,
}


def cases():
    for i, text in enumerate(LINES):
        pair = LINES[(i + 1) % len(LINES)]
        for strategy in ("longest_first", "only_first", "only_second"):
            yield text, pair, 24, strategy, None
        yield text, None, 12, "longest_first", None
        yield text[:12], pair, 32, "only_second", 6
        yield text, None, 16, "only_first", 4


for name, side in [*((name, "right") for name in LOADERS), ("bert-uncased", "left"), ("gpt2", "left")]:
    tokenizer = LOADERS[name](here / name)
    tokenizer.truncation_side = side
    rows = []
    for text, pair, max_length, strategy, stride in list(cases())[:: 1 if side == "right" else 5]:
        try:
            made = tokenizer(
                [text],
                [pair] if pair is not None else None,
                truncation=strategy,
                max_length=max_length,
                stride=stride or 0,
                return_overflowing_tokens=stride is not None,
                return_offsets_mapping=True,
                return_token_type_ids=True,
            )
        except BaseException:  # the library may also panic
            rows.append([text, pair, max_length, strategy, stride, None])
            continue
        windows = [
            [made["input_ids"][w], made.sequence_ids(w), made["token_type_ids"][w], [list(span) for span in made["offset_mapping"][w]]]
            for w in range(len(made["input_ids"]))
        ]
        if stride is None and len(windows[0][0]) > max_length:
            windows = None  # a warning and the whole text: it was not truncated
        rows.append([text, pair, max_length, strategy, stride, windows])
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (here / name / f"windows{'' if side == 'right' else '-left'}.json").write_text(f"[\n{lines}\n]\n")
    print(name, len(rows), sum(row[5] is None for row in rows), sum(len(row[5] or []) for row in rows))
