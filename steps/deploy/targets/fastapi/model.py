"""Makes sequences of tokens of cleaned texts, and runs the ONNX model on batches of them. settings.json has its settings."""

import json
import os
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional

import numpy as np
import onnxruntime
from cleaning import SURROGATE, clean
from tokenizers import Tokenizer

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "settings.json").read_text("utf-8"))
MAX_LENGTH, PADDING, MASK = SETTINGS["max_length"], SETTINGS["pad_token_id"], SETTINGS["mask"]
FROM_LEFT = SETTINGS["truncation_side"] == "left"
# Numbers that a run of the model returns: a masked language model has a score for each token of its vocabulary.
MOST_SCORES = 2**22


class Refused(Exception):
    """A mistake of the client."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


class Sequence(NamedTuple):
    """What the model reads. The lists have one item for each token; special tokens belong to no text and no word."""

    ids: list[int]
    types: list[int]
    texts: list[Optional[int]]
    words: list[Optional[int]]
    spans: list[tuple[int, int]]

    def at(self, places: list[int]) -> "Sequence":
        return Sequence(*([values[i] for i in places] for values in self))


def cores() -> int:
    """The cores that this container may use: onnxruntime would count those of the machine."""
    if os.environ.get("THREADS", "0") != "0":
        return int(os.environ["THREADS"])
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return count if quota == "max" else min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        return count


def open_session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    file = str(HERE / "bundle" / SETTINGS["model"])
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def open_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(HERE / "bundle/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


tokenizer = open_tokenizer()
session = open_session()


def cleaned(name: str, text: str) -> str:
    """A field as the training texts were cleaned. A mask survives: a letter that no cleaning changes stands for it."""
    steps = SETTINGS["cleaning"][name]
    mask = MASK["token"] if MASK else None
    letter = next(chr(code) for code in range(0x12000, 0x12399) if chr(code) not in text) if mask and steps else None
    if letter:
        text = text.replace(mask, letter)
    for options in steps:
        text = clean(text, options)
    return text.replace(letter, mask) if letter else text


def sequence_of(texts: list[str]) -> Sequence:
    """A text or a pair, whole, with its special tokens."""
    return joined(*read(texts))


def truncated_sequence_of(texts: list[str]) -> Sequence:
    template, encodings = read(texts)
    room = MAX_LENGTH - sum(piece["text"] is None for piece in template)
    lengths = kept_lengths([len(encoding.ids) for encoding in encodings], room)
    return joined(template, encodings, lengths)


def read(texts: list[str]) -> tuple[list[dict[str, Any]], list[Any]]:
    """The tokens of each text, and what the tokenizer puts around them."""
    readable = [SURROGATE.sub("\ufffd", text) for text in texts]
    encodings = [tokenizer.encode(text, add_special_tokens=False) for text in readable]
    return SETTINGS["templates"][len(texts) - 1], encodings


def joined(template: list[dict[str, Any]], encodings: list[Any], lengths: Optional[list[int]] = None) -> Sequence:
    sequence = Sequence([], [], [], [], [])
    for piece in template:
        text, values = piece["text"], [[piece.get("id")], [None], [(0, 0)]]
        if text is not None:
            encoding = encodings[text]
            kept = len(encoding.ids) if lengths is None else lengths[text]
            begin = len(encoding.ids) - kept if FROM_LEFT else 0
            values = [all[begin : begin + kept] for all in (encoding.ids, encoding.word_ids, encoding.offsets)]
        count = len(values[0])
        for own, more in zip(sequence, (values[0], [piece["typeId"]] * count, [text] * count, *values[1:])):
            own.extend(more)
    # A text without any token becomes one padding token that is read.
    return sequence if sequence.ids else Sequence([PADDING], [0], [None], [None], [(0, 0)])


def kept_lengths(lengths: list[int], room: int) -> list[int]:
    """How many tokens of each text are read, as in transformers."""
    strategy, excess = SETTINGS["truncation"], sum(lengths) - room
    if excess <= 0:
        return lengths
    if len(lengths) == 1:
        return [room]
    first, second = lengths
    if strategy == "only_first" and first > excess:
        return [first - excess, second]
    if strategy == "only_second" and second > excess:
        return [first, second - excess]
    if strategy != "longest_first":
        raise Refused(
            f"the truncation is {strategy}, but the other text is too long: the texts have {first} and {second} tokens, "
            f"and both together have room for {room}"
        )
    shorter = min(first, second, room // 2)
    return [room - shorter, shorter] if first > second else [shorter, room - shorter]


def windows_of(whole: Sequence) -> list[Sequence]:
    """Windows of a long text, of which neighbours share `stride` tokens. What is around the text is in each of them."""
    count, stride = len(whole.ids), SETTINGS["stride"]
    if count <= MAX_LENGTH:
        return [whole]
    last = max(text or 0 for text in whole.texts)
    begin = whole.texts.index(last)
    end = count - whole.texts[::-1].index(last)
    room = MAX_LENGTH - begin - (count - end)
    if room < 1:
        raise Refused(f"{MAX_LENGTH} tokens leave no room for the text, because it needs {count - (end - begin)} others")
    step = room - stride if room > stride else (room + 1) // 2

    def window(start: int, stop: int) -> Sequence:
        return whole.at([*range(begin), *range(start, stop), *range(end, count)])

    if FROM_LEFT:
        stops = range(end, begin, -step)
        cuts = [(max(begin, stop - room), stop) for stop in stops]
        needed = next(i for i, (start, _) in enumerate(cuts) if start == begin)
        return [window(*cut) for cut in reversed(cuts[: needed + 1])]
    cuts = [(start, min(end, start + room)) for start in range(begin, end, step)]
    needed = next(i for i, (_, stop) in enumerate(cuts) if stop == end)
    return [window(*cut) for cut in cuts[: needed + 1]]


def run(sequences: list[Sequence]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The outputs for each sequence, with its index, in batches of like length."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids))
    start = 0
    while start < len(order):
        # The longest of a batch is its last.
        size = SETTINGS["batch"]
        while size > 1 and size * len(sequences[order[min(start + size, len(order)) - 1]].ids) * SETTINGS["width"] > MOST_SCORES:
            size //= 2
        rows = order[start : start + size]
        outputs = run_batch([sequences[i] for i in rows])
        for row, i in enumerate(rows):
            yield i, {name: values[row].astype(np.float64) for name, values in outputs.items()}
        start += size


def run_batch(sequences: list[Sequence]) -> dict[str, np.ndarray]:
    longest = max(len(one.ids) for one in sequences)

    def padded(rows: list[list[int]], value: int) -> np.ndarray:
        return np.array([row + [value] * (longest - len(row)) for row in rows], dtype=np.int64)

    feeds = {
        "input_ids": padded([one.ids for one in sequences], PADDING),
        "attention_mask": padded([[1] * len(one.ids) for one in sequences], 0),
        "token_type_ids": padded([one.types for one in sequences], 0),
    }
    outputs = session.run(SETTINGS["outputs"], {one.name: feeds[one.name] for one in session.get_inputs()})
    return dict(zip(SETTINGS["outputs"], outputs))


def as_units(text: str) -> int:
    """Its length as JavaScript counts it: an emoji has two code units."""
    return len(text) + sum(character > "\uffff" for character in text)


# The first run is slow.
run_batch([Sequence([PADDING], [0], [None], [None], [(0, 0)])])
