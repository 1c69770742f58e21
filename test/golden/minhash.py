"""Writes minhash.json: texts with the shingles, MinHash signatures and similarities of datasketch 2 (python minhash.py)."""
import json, pathlib, unicodedata
import datasketch, mmh3
import numpy as np
from datasketch import MinHash

PERMUTATIONS = 16
TEXTS = [
    "The quick brown fox jumps over the lazy dog",
    "The  quick BROWN fox\njumps over the lazy cat ",
    "Straße, naïve café: 日本語のテキスト 👍🏽 ok",
    "STRASSE, naive cafe",
    "ok",
    "a b c",
    " ".join(f"word{i % 37}" for i in range(200)),
    " ".join(f"word{i % 41}" for i in range(200)),
]
hash_of = lambda data: mmh3.hash(data, 0, signed=False)


def shingles(text, ngram, unit):
    normal = " ".join(unicodedata.normalize("NFC", text).lower().split())
    parts = normal.split(" ") if unit == "words" else list(normal)
    joint = " " if unit == "words" else ""
    return {joint.join(parts[i : i + ngram]) for i in range(max(1, len(parts) - ngram + 1))}


def case(ngram, unit):
    sets = [shingles(text, ngram, unit) for text in TEXTS]
    sketches = []
    for one in sets:
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=hash_of)
        sketch.update_batch([s.encode() for s in sorted(one)])
        sketches.append(sketch)
    return {
        "ngram": ngram,
        "unit": unit,
        "hashes": [sorted({hash_of(s.encode()) for s in one}) for one in sets],
        "signatures": [sketch.hashvalues.tolist() for sketch in sketches],
        "jaccard": [[len(x & y) / len(x | y) for y in sets] for x in sets],
    }


a, b = MinHash(num_perm=PERMUTATIONS, seed=1).permutations
out = pathlib.Path(__file__).with_name("minhash.json")
murmur = [[text, hash_of(text.encode())] for text in ["", "a", "ab", "abc", "abcd", "abcde", "日本", "hello, world"]]
cases = [case(5, "characters"), case(1, "words"), case(3, "words")]
out.write_text(json.dumps({"versions": datasketch.__version__, "texts": TEXTS, "a": a.tolist(), "b": b.tolist(), "murmur": murmur, "cases": cases}) + "\n")
