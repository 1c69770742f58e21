"""
Golden values for stop strings: the token after which transformers' StopStringCriteria ends a text, including its prompt.

    pip install torch==2.13.0 transformers==5.23.0 && python test/golden/stop-strings.py

Reads the tokenizer of test/golden/tokenizer/gpt2, which tokenizer.py writes. Writes stop-strings.json, rows of
[ids, the number of prompt ids, stop strings, the number of generated tokens when the text ended or null].
"""

import json
from pathlib import Path

import tokenizer  # noqa: F401  writes the folders
import torch
from transformers import GPT2Tokenizer
from transformers.generation.stopping_criteria import StopStringCriteria

here = Path(__file__).parent
CASES = [
    ("The quick brown fox", " trots over the lazy dog", ["ox t"]),
    ("The quick brown fox", " trots over the lazy dog", ["fox"]),
    ("The quick brown fox", " trots over the lazy dog", ["fox "]),
    ("The quick brown fox", " trots over the lazy dog", ["zy d", "rown fox tr"]),
    ("The quick brown fox", " trots over the lazy dog", ["over the", "er"]),
    ("The quick brown fox", " trots over the lazy dog", ["dogs", "Fox"]),
    ("The end. The", " end. The end.", ["The end. The end."]),
    ("a b", " a b a b", ["a b a"]),
    ("na", "nananana!", ["nanana", "!"]),
    ("caf", "é über\nnaïve", ["é", "naï"]),
    ("caf", "é über\nnaïve", ["r\nn"]),
    ("Emoji: ", "😀😃 done", ["😃"]),
    ("One line\n", "\nTwo\n\nThree", ["\n\n"]),
    ("stop", " here stop", ["stop"]),
    ("x", "yz", ["xyz"]),
    ("x", "yz", ["xy", "q"]),
]


def rows():
    tokenizer = GPT2Tokenizer.from_pretrained(here / "tokenizer/gpt2")
    for prompt, more, stops in CASES:
        begun = tokenizer(prompt).input_ids
        ids = begun + tokenizer(more).input_ids
        criteria = StopStringCriteria(tokenizer, stops)
        ended = None
        for end in range(len(begun) + 1, len(ids) + 1):
            if bool(criteria(torch.tensor([ids[:end]]), None)[0]):
                ended = end - len(begun)
                break
        yield [ids, len(begun), stops, ended]


made = list(rows())
(here / "stop-strings.json").write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in made) + "\n]\n")
print(len(made), sum(row[3] is not None for row in made))
