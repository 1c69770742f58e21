"""Changes texts as CheckList (Ribeiro et al. 2020) does: python behavior.py > behavior.json

Needs the package checklist 0.0.11. Its module perturb imports other modules that these functions do not use. They are replaced,
because they need packages that are hard to install.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np

for name in ("pattern", "pattern.en", "checklist", "checklist.editor"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["pattern.en"].tenses = None
sys.modules["checklist.editor"].recursive_apply = sys.modules["checklist.editor"].MunchWithAdd = None


def load(module):
    folder = next(Path(path) / "checklist" for path in sys.path if (Path(path) / "checklist" / "perturb.py").exists())
    spec = importlib.util.spec_from_file_location(f"checklist.{module}", folder / f"{module}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


Perturb = load("perturb").Perturb
Expect = load("expect").Expect


class Doc:
    """The part of spaCy's Doc that the functions for punctuation use: a mark is a token of its own."""

    def __init__(self, text):
        self.text = text
        end = len(text)
        while end > 0 and text[end - 1] in ".,;:!?\"'()-":
            end -= 1
        self.marks = len(text) - end

    def __len__(self):
        return len(self.text)

    def __getitem__(self, at):
        if isinstance(at, slice):
            assert at == slice(None, -1)
            return Doc(self.text[:-1])
        return types.SimpleNamespace(pos_="PUNCT" if self.marks else "X")


TEXTS = [
    "I don't think it's bad, but it isn't good.",
    "It is what it is and they are not happy!!",
    "We're sure that you'll like it; who's there?",
    "Can't you see? You cannot miss it",
    "CAN'T STOP, WON'T STOP.",
    "I am sure I will not go there, he is not coming",
    "She would have said that there is no way it will not work ",
    "You should've known; they've left and I've stayed...",
    "What are you doing? How did it go? Where is the cat?",
    "no change here",
    "Isn't it? It isn't. Is not it?",
    "shall not, must not, need not, ought not to, might not be",
    "(a remark in brackets)",
    "Great!",
    "Great.",
    "naïve café — it is fine",
]


def typos(text, seed, count):
    np.random.seed(seed)
    changed = Perturb.add_typos(text, count)
    np.random.seed(seed)
    return {"places": np.random.choice(len(text) - 1, count).tolist(), "text": changed}


def numbers(number):
    """The least and the greatest replacement of a whole number."""
    word = types.SimpleNamespace(text=str(number))
    doc = type("Words", (list,), {"text": str(number)})([word])
    found = {int(text) for seed in range(400) for text in Perturb.change_number(doc, seed=seed) or []}
    return [min(found), max(found)]


def pairwise(expect, before, after):
    """True, False, or None if the case cannot fail."""
    confs = [np.array(before), np.array(after)]
    preds = [int(np.argmax(conf)) for conf in confs]
    test = types.SimpleNamespace(
        data=[["a", "b"]],
        results=types.SimpleNamespace(preds=[np.array(preds)], confs=[np.array(confs)]),
        labels=None,
        meta=None,
        run_idxs=None,
    )
    result = expect(test)[0][-1]
    return None if result is None else bool(result > 0)


SCORES = [0.0, 0.02, 0.1, 0.35, 0.5, 0.65, 0.9, 0.98, 1.0]
pairs = [([1 - a, a], [1 - b, b]) for a in SCORES for b in SCORES if 0.5 not in (a, b)]

json.dump(
    {
        "changes": [
            {
                "text": text,
                "expand": Perturb.expand_contractions(text),
                "contract": Perturb.contract(text),
                "contractions": Perturb.contractions(text),
                "strip": Perturb.strip_punctuation(Doc(text)),
                "punctuation": Perturb.punctuation(Doc(text)),
                "typos": [typos(text, seed, 1 + seed % 3) for seed in range(4)],
            }
            for text in TEXTS
        ],
        "numbers": {str(number): numbers(number) for number in (1, 3, 5, 9, 10, 42, 99, 1000)},
        "invariance": [
            {"before": a, "after": b, "tolerance": tolerance, "passed": pairwise(Expect.inv(tolerance), a, b)}
            for a, b in pairs
            for tolerance in (0, 0.1, 0.3)
        ],
        "direction": [
            {
                "before": a,
                "after": b,
                "change": "up" if up else "down",
                "tolerance": tolerance,
                "passed": pairwise(Expect.monotonic(label=1, increasing=up, tolerance=tolerance), a, b),
            }
            for a, b in pairs
            for up in (True, False)
            for tolerance in (0, 0.1)
        ],
    },
    sys.stdout,
    separators=(",", ":"),
    ensure_ascii=False,
)
