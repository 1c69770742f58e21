"""Serves the bundle with FastAPI, onnxruntime and tokenizers: POST /predict, GET /health.

settings.json and cleaning.py say what happens between a raw text and its scores, as in the training of the model.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from cleaning import clean
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from tokenizers import Tokenizer

HERE = Path(__file__).parent
SETTINGS = json.loads((HERE / "settings.json").read_text("utf-8"))
LABELS = SETTINGS["labels"]
CALIBRATION = SETTINGS["calibration"] or {}
MAX_BYTES, MAX_INPUTS, MAX_CHARACTERS = 10 * 2**20, 1000, 100_000
BATCH = SETTINGS["batch"]
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def open_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(HERE / "bundle/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(
        SETTINGS["max_length"], strategy=SETTINGS["truncation"], direction=SETTINGS["truncation_side"]
    )
    return tokenizer


def open_session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("THREADS", "0"))
    return onnxruntime.InferenceSession(
        str(HERE / "bundle" / SETTINGS["model"]), options, providers=["CPUExecutionProvider"]
    )


tokenizer = open_tokenizer()
session = open_session()
app = FastAPI(title=SETTINGS["name"])


class Refused(Exception):
    """A mistake of the client."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


@app.exception_handler(Refused)
async def refuse(_: Request, error: Refused) -> JSONResponse:
    return JSONResponse({"error": {"message": str(error)}}, error.status)


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"status": "ok", "model": SETTINGS["name"], "task": "text-classification", "labels": LABELS}


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(f"the body is larger than {MAX_BYTES} bytes; send fewer inputs at once", 413)
    inputs = inputs_of(body)
    return {"predictions": await run_in_threadpool(answers_to, inputs)}


def inputs_of(body: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(body.decode("utf-8"))
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict) or set(value) != {"inputs"}:
        raise Refused('the body must be an object such as {"inputs": "…"}, with no other field')
    given = value["inputs"]
    many = given if isinstance(given, list) else [given]
    if len(many) > MAX_INPUTS:
        raise Refused(f"the request has {len(many)} inputs, but at most {MAX_INPUTS} are allowed at once", 413)
    return [input_of(each, f'"inputs[{i}]"' if isinstance(given, list) else '"inputs"') for i, each in enumerate(many)]


def input_of(given: Any, place: str) -> dict[str, Any]:
    fields = SETTINGS["fields"]
    required = [field["name"] for field in fields if not field.get("optional")]
    if isinstance(given, str) and len(required) == 1:
        given = {required[0]: given}
    if not isinstance(given, dict):
        raise Refused(f"{place} must be {'a string' if len(required) == 1 else 'an object with ' + ' and '.join(required)}")
    for name in given:
        if name not in [field["name"] for field in fields]:
            raise Refused(f"{place} has the unknown field {json.dumps(name)}")
    for field in fields:
        name = field["name"]
        if name not in given and not field.get("optional"):
            raise Refused(f'{place} has no "{name}"')
        value = given.get(name)
        if field.get("group"):
            if not (value is None or isinstance(value, (str, int, float))):
                raise Refused(f'"{name}" of {place} must be a string, a number, a boolean or null')
        elif name in given and not isinstance(value, str):
            raise Refused(f'"{name}" of {place} must be a string')
    if sum(len(value) for value in given.values() if isinstance(value, str)) > MAX_CHARACTERS:
        raise Refused(f"{place} has more than {MAX_CHARACTERS} characters", 413)
    return given


def answers_to(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    encoded = [encode(given) for given in inputs]
    order = sorted(range(len(inputs)), key=lambda i: len(encoded[i][0]))
    answers: list[dict[str, Any]] = [{}] * len(inputs)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        for i, logits in zip(rows, run([encoded[i] for i in rows])):
            answers[i] = answer(logits, inputs[i])
    return answers


def encode(given: dict[str, Any]) -> tuple[list[int], list[int]]:
    texts = [cleaned(name, given[name]) for name in ("text", "text_pair") if name in given]
    try:
        encoding = tokenizer.encode(*texts)
    except Exception as error:  # the text to truncate is too short
        raise Refused(f"the input cannot be truncated to {SETTINGS['max_length']} tokens: {error}") from error
    # A text without any token becomes one padding token that is read.
    return (encoding.ids, encoding.type_ids) if encoding.ids else ([SETTINGS["pad_token_id"]], [0])


def cleaned(name: str, text: str) -> str:
    for options in SETTINGS["cleaning"][name]:
        text = clean(text, options)
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def run(sequences: list[tuple[list[int], list[int]]]) -> np.ndarray:
    width = max(len(ids) for ids, _ in sequences)

    def padded(rows: list[list[int]], value: int) -> np.ndarray:
        return np.array([row + [value] * (width - len(row)) for row in rows], dtype=np.int64)

    feeds = {
        "input_ids": padded([ids for ids, _ in sequences], SETTINGS["pad_token_id"]),
        "attention_mask": padded([[1] * len(ids) for ids, _ in sequences], 0),
        "token_type_ids": padded([types for _, types in sequences], 0),
    }
    names = [one.name for one in session.get_inputs()]
    (logits,) = session.run(["logits"], {name: feeds[name] for name in names})
    if np.isnan(logits).any():
        raise HTTPException(500, "the model computed no number")
    return logits.astype(np.float64)


def answer(logits: np.ndarray, given: dict[str, Any]) -> dict[str, Any]:
    if SETTINGS["problem"] == "regression":
        return {"score": rounded(logits[0])} if len(LABELS) == 1 else {"scores": by_label(logits)}
    logits = logits / CALIBRATION.get("temperature", 1)
    thresholds = thresholds_for(given.get(CALIBRATION.get("group", "")))
    if SETTINGS["problem"] == "multi_label_classification":
        scores = 1 / (1 + np.exp(-logits))
        flags = [score >= thresholds[label] if label in thresholds else score > 0.5 for label, score in zip(LABELS, scores)]
        return {"labels": [label for label, flag in zip(LABELS, flags) if flag], "scores": by_label(scores)}
    shifted = logits - logits.max()
    scores = np.exp(shifted - math.log(np.exp(shifted).sum()))
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


def rounded(value: float) -> float:
    return float(f"{value:.8g}")
