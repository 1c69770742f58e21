"""Writes answers with unusual spaces, articles and punctuation, and their scores from SQuAD's evaluation script, with the functions of
torchmetrics 1.9: python squad.py > squad.json"""

import json
import random
import sys

import torchmetrics  # noqa: F401  loads the module below, whose name is also that of a function

squad = sys.modules["torchmetrics.functional.text.squad"]

# Everything that Python or JavaScript treats as white space, and similar characters.
SPACES = [chr(c) for c in [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]]
OTHERS = [chr(c) for c in [0, 8, 27, 127, 173, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF]]
WORDS = ["The", "a", "an", "tower", "Tower,", "Zoë's", "the", "über", "II", "½", "٣", "x_the", "the-end", "İstanbul", "ΣΑΣ", "ﬁn", "東京", "a\u0301", "$5", "5€", "«a»", "AN.", "'the'"]

rng = random.Random(3)
cases = []
for space in SPACES + OTHERS:
    cases.append((["one" + space + "two"], "one two"))
    cases.append((["one two"], space + "one two" + space))
    cases.append((["the" + space + "cat"], "cat"))
for _ in range(300):
    text = lambda: "".join(rng.choice(WORDS) + rng.choice([" ", " ", rng.choice(SPACES), rng.choice(OTHERS), ""]) for _ in range(rng.randint(0, 5)))
    truth = [text() for _ in range(rng.randint(0, 3))]
    said = rng.choice(truth) if truth and rng.random() < 0.3 else text()
    cases.append((truth, said))


def score(truth, said):
    gold = [answer for answer in truth if squad._normalize_text(answer)] or [""]
    exact = max(int(squad._compute_exact_match_score(said, answer)) for answer in gold)
    return {"exact_match": exact, "f1": max(float(squad._compute_f1_score(said, answer)) for answer in gold)}


json.dump([{"truth": truth, "predicted": said, "values": score(truth, said)} for truth, said in cases], sys.stdout)
