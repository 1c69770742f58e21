"""Serves the bundle with FastAPI: POST /predict, GET /health. model.py runs the model, answers.py interprets its outputs."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import anyio
from answers import answers_to
from fastapi import FastAPI, Request, Response
from model import SETTINGS, Refused, as_units
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

MAX_BYTES, MAX_INPUTS, MAX_CHARACTERS = 10 * 2**20, 1000, 100_000
# Of the bodies of all requests that are read, wait or are answered.
MAX_BYTES_HELD, MAX_WAITING = 64 * 2**20, 256
SECONDS_FOR_BODY = 30

FIELDS = SETTINGS["fields"]
REQUIRED = [field["name"] for field in FIELDS if not field.get("optional")]
ONE = "a string" if len(REQUIRED) == 1 else "an object with " + " and ".join(REQUIRED)
EXAMPLE = {"inputs": SETTINGS["example"]}

app = FastAPI(title=SETTINGS["name"], redoc_url=None)
# One request computes at a time, with all cores; the others wait in their order.
turn = anyio.CapacityLimiter(1)
held = 0


@app.get("/health")
async def health() -> dict[str, Any]:
    """The model was loaded before the server listens."""
    return {"status": "ok", "model": SETTINGS["name"], "task": SETTINGS["task"], "labels": SETTINGS["labels"]}


@app.post("/predict", openapi_extra={"requestBody": {"content": {"application/json": {"example": EXAMPLE}}}})
async def predict(request: Request) -> Response:
    """Predicts for one input, or for a list of inputs."""
    global held
    check_type(request.headers)
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS_FOR_BODY):
            async for chunk in request.stream():
                body += chunk
                held += len(chunk)
                if len(body) > MAX_BYTES:
                    raise Refused(f"the body is larger than {MAX_BYTES} bytes; send fewer inputs at once", 413)
                if held > MAX_BYTES_HELD or turn.statistics().tasks_waiting > MAX_WAITING:
                    raise Refused("the server is overloaded; try again in a second", 503)
        predictions = await anyio.to_thread.run_sync(lambda: answers_to(inputs_of(bytes(body))), limiter=turn)
    except ClientDisconnect:
        raise Refused("the connection ended before the body") from None
    except TimeoutError:
        raise Refused(f"the body did not arrive within {SECONDS_FOR_BODY} seconds", 408) from None
    finally:
        held -= len(body)
    # In ASCII, because an excerpt of a text may have half of a surrogate pair.
    return Response(json.dumps({"predictions": predictions}), media_type="application/json")


def check_type(headers: Any) -> None:
    """Pages of other origins may post text/plain and forms without permission, so only JSON is read."""
    given = headers.get("content-type", "")
    media = given.split(";")[0].strip().lower()
    if not (media.startswith("application/") and media.endswith(("/json", "+json"))):
        raise Refused(f"the content-type must be application/json, not {json.dumps(given) if given else 'missing'}", 415)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused("the body must not be compressed", 415)
    if headers.get("content-length", "").isdecimal() and int(headers["content-length"][:20]) > MAX_BYTES:
        raise Refused(f"the body is larger than {MAX_BYTES} bytes; send fewer inputs at once", 413)


def inputs_of(body: bytes) -> list[dict[str, Any]]:
    """The inputs of a body, each with a value for every field that it has."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=not_json)
    except RecursionError:
        raise Refused("the body is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(f"the body must be an object such as {json.dumps(EXAMPLE)}, not {kind_of(value)}")
    for name in value:
        if name != "inputs":
            raise Refused(f'unknown field {json.dumps(name)}; the only field is "inputs"')
    if "inputs" not in value:
        raise Refused(f'the field "inputs" is missing; it is {ONE} or a list of these')
    given = value["inputs"]
    if not isinstance(given, list):
        return [input_of(given, '"inputs"')]
    if len(given) > MAX_INPUTS:
        raise Refused(f"the request has {len(given)} inputs, but at most {MAX_INPUTS} are allowed at once", 413)
    return [input_of(each, f'"inputs[{i}]"') for i, each in enumerate(given)]


def not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


def input_of(given: Any, place: str) -> dict[str, Any]:
    if isinstance(given, str) and len(REQUIRED) == 1:
        given = {REQUIRED[0]: given}
    if not isinstance(given, dict):
        raise Refused(f"{place} must be {ONE}, not {kind_of(given)}")
    value: dict[str, Any] = {}
    for field in FIELDS:
        value |= part_of(field, given, place)
    names = [field["name"] for field in FIELDS]
    for name in given:
        if name not in names:
            raise Refused(f"{place} has the unknown field {json.dumps(name)}; the fields are {', '.join(names)}")
    characters = sum(as_units(text) for text in value.values() if isinstance(text, str))
    if characters > MAX_CHARACTERS:
        raise Refused(f"{place} has {characters} characters, but at most {MAX_CHARACTERS} are allowed", 413)
    return value


def part_of(field: dict[str, Any], given: dict[str, Any], place: str) -> dict[str, Any]:
    """The value of a field. A list of words is also a text, in which spaces separate them."""
    name, value = field["name"], given.get(field["name"])
    if isinstance(value, str):
        return {name: value}
    if field.get("group"):
        if name in given and (value is None or isinstance(value, (bool, int, float))):
            return {name: value}
        allowed = "a string, a number, a boolean or null"
    elif field.get("words"):
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return {name: " ".join(value), "words": value}
        allowed = "a string or a list of strings, its words"
    else:
        allowed = "a string"
    if value is not None:
        raise Refused(f'"{name}" of {place} must be {allowed}, not {kind_of(value)}')
    if field.get("optional"):
        return {}
    raise Refused(f'{place} has no "{name}"')


def kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


# Errors are problem documents (RFC 9457).


def problem(status: int, message: str, headers: Any = None) -> Response:
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": message}
    content = json.dumps({**document, "error": {"message": message}})
    return Response(content, status, headers, "application/problem+json")


@app.exception_handler(Refused)
async def refuse(_: Request, error: Refused) -> Response:
    return problem(error.status, str(error), {"retry-after": "1"} if error.status == 503 else None)


@app.exception_handler(HTTPException)
async def refuse_path(request: Request, error: HTTPException) -> Response:
    messages = {404: "there is no such path; POST /predict predicts", 405: f"the method {request.method} is not allowed here"}
    return problem(error.status_code, messages.get(error.status_code, str(error.detail)), error.headers)


@app.exception_handler(Exception)
async def fail(_: Request, __: Exception) -> Response:
    """The log has the reason, and the client does not."""
    return problem(500, "the server failed to answer")
