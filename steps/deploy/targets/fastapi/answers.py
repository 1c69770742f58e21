"""From the inputs of a request to its answers: a function for each task."""

import json
import math
import re
from typing import Any, Callable, NamedTuple

import numpy as np
from cleaning import strip
from model import MASK, MAX_LENGTH, SETTINGS, Refused, Sequence, as_units, cleaned, run, sequence_of, tokenizer
from model import truncated_sequence_of, windows_of

LABELS = SETTINGS["labels"]
CALIBRATION = SETTINGS["calibration"] or {}
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)

Input = dict[str, Any]
Outputs = dict[str, np.ndarray]
Answer = dict[str, Any]


class Task(NamedTuple):
    # The cleaned texts of an input as sequences.
    encode: Callable[[dict[str, str]], list[Sequence]]
    # What is kept of the outputs of one sequence.
    read: Callable[[Sequence, Outputs], Any]
    # The answer, from the input, the sequences and what was kept of each.
    answer: Callable[[Input, list[Sequence], list[Any]], Answer]


def answers_to(inputs: list[Input]) -> list[Answer]:
    task = TASKS[SETTINGS["task"]]
    encoded = []
    for i, given in enumerate(inputs):
        try:
            texts = {name: cleaned(name, given[name]) for name in SETTINGS["cleaning"] if name in given}
            encoded.append(task.encode(texts))
        except Refused as error:
            raise Refused(f'"inputs{f"[{i}]" if len(inputs) > 1 else ""}": {error}', error.status) from None
    # A long text has several sequences.
    sequences = [one for own in encoded for one in own]
    kept: list[Any] = [None] * len(sequences)
    for i, outputs in run(sequences):
        if any(np.isnan(values).any() for values in outputs.values()):
            raise Refused("the model outputs scores that are not numbers: its training diverged", 500)
        kept[i] = task.read(sequences[i], outputs)
    answers, start = [], 0
    for given, own in zip(inputs, encoded):
        answers.append(task.answer(given, own, kept[start : start + len(own)]))
        start += len(own)
    return answers


# text-classification: one label of several, any number of labels, or numbers.


def classify(given: Input, _: list[Sequence], results: list[np.ndarray]) -> Answer:
    logits = results[0]
    if SETTINGS["problem"] == "regression":
        return {"score": rounded(logits[0])} if len(LABELS) == 1 else {"scores": by_label(logits)}
    logits = logits / CALIBRATION.get("temperature", 1)
    thresholds = thresholds_for(given.get(CALIBRATION.get("group", "")))
    if SETTINGS["problem"] == "multi_label_classification":
        scores = 1 / (1 + np.exp(-logits))
        flags = [score >= thresholds[label] if label in thresholds else score > 0.5 for label, score in zip(LABELS, scores)]
        return {"labels": [label for label, flag in zip(LABELS, flags) if flag], "scores": by_label(scores)}
    scores = softmax(logits)
    predicted = int(np.argmax(scores))
    if thresholds:
        positive = next(k for k, label in enumerate(LABELS) if label in thresholds)
        predicted = positive if scores[positive] >= thresholds[LABELS[positive]] else 1 - positive
    return {"label": LABELS[predicted], "scores": by_label(scores)}


def thresholds_for(group: Any) -> dict[str, float]:
    groups = CALIBRATION.get("group_thresholds") or {}
    usual = CALIBRATION.get("thresholds") or {}
    return usual if group is None else groups.get(as_stored(group), usual)


def as_stored(group: Any) -> str:
    """A number or a boolean as the data write it: 1.0 is 1, and True is true."""
    value = json.dumps(group) if isinstance(group, (bool, int, float)) else group
    kind, text = CALIBRATION.get("group_type"), value.strip()
    if kind == "boolean":
        return {"true": "true", "1": "true", "false": "false", "0": "false"}.get(text.lower(), value)
    numeric = isinstance(group, float) or (kind == "number" and NUMBER.fullmatch(text))
    number = float(text) if numeric else math.nan
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else value


def by_label(values: np.ndarray) -> dict[str, float]:
    return {label: rounded(value) for label, value in zip(LABELS, values)}


# token-classification: words with their tags are grouped into entities.


class Word(NamedTuple):
    begin: int
    end: int
    # Probabilities of the labels, which are those of the first token of the word.
    scores: np.ndarray


def find_entities(given: Input, windows: list[Sequence], results: list[np.ndarray]) -> Answer:
    if "words" not in given:
        return {"entities": entities_of(words_of_text(windows, results), given["text"])}
    words = words_of_list(given["words"], windows, results)
    tags = [LABELS[int(np.argmax(words[place].scores))] if place in words else None for place in range(len(given["words"]))]
    return {"entities": entities_of(list(words.values()), given["text"]), "tags": tags}


def words_of_text(windows: list[Sequence], results: list[np.ndarray]) -> list[Word]:
    """The words as the tokenizer splits the text. A word that a window cuts continues in the next one."""
    words: list[Word] = []
    last = None
    for window, logits in zip(windows, results):
        for token, (word, (begin, end)) in enumerate(zip(window.words, window.spans)):
            if word is None or begin == end:
                continue
            if word == last:
                words[-1] = words[-1]._replace(end=end)
            else:
                words.append(Word(begin, end, softmax(logits[token])))
            last = word
    return words


def words_of_list(given: list[str], windows: list[Sequence], results: list[np.ndarray]) -> dict[int, Word]:
    """The words of a list that have tokens. A token may begin with the space before its word, so its end identifies the word."""
    words: dict[int, Word] = {}
    begins = [0]
    for text in given:
        begins.append(begins[-1] + len(text) + 1)
    place = 0
    for window, logits in zip(windows, results):
        for token, (text, (begin, end)) in enumerate(zip(window.texts, window.spans)):
            if text is None or begin == end:
                continue
            while end > begins[place + 1] - 1 and place < len(given) - 1:
                place += 1
            if place not in words:
                words[place] = Word(begins[place], begins[place + 1] - 1, softmax(logits[token]))
    return words


def entities_of(words: list[Word], text: str) -> list[Answer]:
    """B- begins an entity, and I- continues one of the same type. Tags such as NOUN are each an entity of its own."""
    apart = not any(re.match(r"(O|LABEL_[0-9]+)\Z|[BIES]-", label) for label in LABELS)
    groups: list[tuple[str, list[Word]]] = []
    is_open = False
    for word in words:
        label = LABELS[int(np.argmax(word.scores))]
        prefix, kind = re.fullmatch(r"(?:([BIES])-)?(.*)", label, re.DOTALL).groups()
        if label == "O":
            is_open = False
        elif is_open and groups[-1][0] == kind and prefix not in ("B", "S"):
            groups[-1][1].append(word)
        else:
            groups.append((kind, [word]))
            is_open = True
        if prefix in ("E", "S") or apart:
            is_open = False
    return [entity_of(kind, own, text) for kind, own in groups]


def entity_of(kind: str, words: list[Word], text: str) -> Answer:
    begin, end = words[0].begin, words[-1].end
    score = sum(word.scores.max() for word in words) / len(words)
    places = {"start": as_units(text[:begin]), "end": as_units(text[:end])}
    return {"entity": kind, **places, "score": rounded(score), "text": text[begin:end]}


# question-answering: the best span of all windows of the context, unless "no answer" is better.

BEST, LONGEST = 20, 30


def encode_question(texts: dict[str, str]) -> list[Sequence]:
    whole = sequence_of([texts["question"], texts["context"]])
    if len(whole.ids) > MAX_LENGTH and sum(text != 1 for text in whole.texts) >= MAX_LENGTH:
        count = sum(text == 0 for text in whole.texts)
        raise Refused(f"the question has {count} tokens, so a sequence of {MAX_LENGTH} tokens leaves no room for its context")
    return windows_of(whole)


def read_ends(window: Sequence, outputs: Outputs) -> Outputs:
    """Without the padding of the batch."""
    return {name: values[: len(window.ids)] for name, values in outputs.items()}


def find_answer(given: Input, windows: list[Sequence], results: list[Outputs]) -> Answer:
    none, spans = math.inf, []
    for window, outputs in zip(windows, results):
        starts, ends = outputs["start_logits"], outputs["end_logits"]
        none = min(none, starts[0] + ends[0])
        in_context = [text == 1 and begin < end for text, (begin, end) in zip(window.texts, window.spans)]
        lasts = highest(ends)
        for first in highest(starts):
            for last in lasts:
                if in_context[first] and in_context[last] and first <= last < first + LONGEST:
                    spans.append((starts[first] + ends[last], window.spans[first][0], window.spans[last][1]))
    spans.sort(key=lambda span: -span[0])
    # "No answer" is a candidate too if it is among the best.
    spans = spans[: BEST - 1 if len(spans) < BEST or none > spans[BEST - 1][0] else BEST]
    scores = softmax(np.array([none, *(logit for logit, _, _ in spans)]))
    if not spans or none > spans[0][0]:
        return {"answer": "", "start": 0, "end": 0, "score": rounded(scores[0])}
    _, begin, end = spans[0]
    context = given["context"]
    places = {"start": as_units(context[:begin]), "end": as_units(context[:end])}
    return {"answer": context[begin:end], **places, "score": rounded(scores[1])}


def highest(logits: np.ndarray) -> list[int]:
    return np.argsort(-logits, kind="stable")[:BEST].tolist()


# masked-lm: the best token for each mask.


def encode_masked(texts: dict[str, str]) -> list[Sequence]:
    windows = windows_of(sequence_of([texts["text"]]))
    if not any(MASK["id"] in window.ids for window in windows):
        raise Refused(f"there is no {MASK['token']} in the text, or cleaning removes it; write it in place of the word to predict")
    return windows


def read_masks(window: Sequence, outputs: Outputs) -> list[tuple[int, float]]:
    places = [i for i, id in enumerate(window.ids) if id == MASK["id"]]
    all_scores = [softmax(outputs["logits"][i]) for i in places]
    return [(int(np.argmax(scores)), float(scores.max())) for scores in all_scores]


def fill(_: Input, __: list[Sequence], results: list[list[tuple[int, float]]]) -> Answer:
    masks = [mask for own in results for mask in own]
    tokens = [strip(tokenizer.decode([id], skip_special_tokens=False)) for id, _ in masks]
    return {"fill": [{"token": token, "score": rounded(score)} for token, (_, score) in zip(tokens, masks)]}


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return np.exp(shifted - math.log(np.exp(shifted).sum()))


def rounded(value: float) -> float:
    """Logits have seven digits, so further digits would be noise."""
    return float(f"{value:.8g}")


TASKS = {
    "text-classification": Task(
        encode=lambda texts: [truncated_sequence_of(list(texts.values()))],
        read=lambda _, outputs: outputs["logits"],
        answer=classify,
    ),
    "token-classification": Task(
        encode=lambda texts: windows_of(sequence_of([texts["text"]])),
        read=lambda window, outputs: outputs["logits"][: len(window.ids)],
        answer=find_entities,
    ),
    "question-answering": Task(encode=encode_question, read=read_ends, answer=find_answer),
    "masked-lm": Task(encode=encode_masked, read=read_masks, answer=fill),
}
