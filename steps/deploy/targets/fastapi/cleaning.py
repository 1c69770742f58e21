"""Cleans a text as the training texts were cleaned. markup.json has the names of entities and elements."""

import json
import unicodedata
from pathlib import Path
from typing import Callable, Optional

import regex

MARKUP = json.loads((Path(__file__).parent / "markup.json").read_text("utf-8"))
ENTITIES, BREAKING, WINDOWS_1252 = MARKUP["entities"], set(MARKUP["breaking"]), MARKUP["windows1252"]

# White space of JavaScript, in which texts were cleaned for the training.
SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
SPACES = regex.compile(f"[{SPACE}]+")
EDGES = regex.compile(rf"\A[{SPACE}]+|[{SPACE}]+\Z")
SPECIAL = regex.compile(rf"[^\p{{L}}\p{{M}}\p{{N}}{SPACE}]")
INVISIBLE = regex.compile(r"(?![\t\n\v\f\r\ufeff])[\p{Cc}\p{Cf}]")
SURROGATE = regex.compile("[\ud800-\udfff]")
LETTER = regex.compile(r"[\p{L}\p{M}]")

Find = Callable[[str, int, int, int], Optional[tuple[int, int, int]]]


def clean(text: str, options: dict) -> str:
    remove = set(options["remove"])
    form = options["normalize"]
    text = SURROGATE.sub("\ufffd", text)
    if "html" in remove:
        text = remove_html(text)
    if "special_characters" in remove:
        text = INVISIBLE.sub("", text)
    if form != "none":
        text = unicodedata.normalize(form, text)
    if options["lowercase"]:
        text = text.lower()
        if form != "none":
            text = unicodedata.normalize(form, text)
    if "urls" in remove:
        text = replace_each(text, URL, find_url)
    if "emails" in remove:
        text = replace_each(text, AT, find_email)
    if "special_characters" in remove:
        kept = set(options["keep_characters"])
        text = SPECIAL.sub(lambda match: match[0] if match[0] in kept else " ", text)
    if "numbers" in remove:
        text = replace_each(text, DIGIT, find_number)
    return SPACES.sub(" ", text).strip(" ") if options["whitespace"] == "collapse" else text


def strip(text: str) -> str:
    return EDGES.sub("", text)


def replace_each(text: str, sign: regex.Pattern, find: Find) -> str:
    """Replaces what `find` returns (start, end, where to continue) for a sign by a space."""
    parts, before, position = [], 0, 0
    while match := sign.search(text, position):
        position = match.end()
        found = find(text, match.start(), match.end(), before)
        if found is None:
            continue
        start, end, position = found
        if end == start:
            continue
        parts += [text[before:start], " "]
        before = end
    return text if before == 0 else "".join(parts) + text[before:]


URL = regex.compile(r"(?:https?|ftp)://|(?<![\p{L}\p{M}\p{N}])www\.", regex.IGNORECASE)
END_OF_URL = regex.compile(f'[{SPACE}<>"]')


def find_url(text: str, start: int, begin: int, _: int) -> Optional[tuple[int, int, int]]:
    end = end_before(text, begin, ".,;:!?'()[]{}", first_of(END_OF_URL, text, begin))
    return (start, end, end) if end > begin else None


AT = regex.compile("@")
IN_NAME = regex.compile(r"[\p{L}\p{M}\p{N}._%+-]")
DOMAIN_LABEL = regex.compile(r"[\p{L}\p{M}\p{N}-]*+")


def find_email(text: str, at: int, begin: int, before: int) -> Optional[tuple[int, int, int]]:
    start = at
    while start > 0 and IN_NAME.match(text[start - 1]):
        start -= 1
        if start < before:
            return None
    end = DOMAIN_LABEL.match(text, begin).end()
    if start == at or end == begin:
        return None
    one_label = end
    while text[end : end + 1] == "." and (following := DOMAIN_LABEL.match(text, end + 1).end()) > end + 1:
        end = following
    return (start, end, end) if end > one_label else None


DIGIT = regex.compile(r"\p{N}")
END_OF_NUMBER = regex.compile(r"[^\p{N}.,:/-]")


def find_number(text: str, start: int, begin: int, _: int) -> tuple[int, int, int]:
    """Not digits within words such as mp3."""
    following = first_of(END_OF_NUMBER, text, begin)
    end = end_before(text, begin, ".,:/-", following)
    within = LETTER.match(text[start - 1 : start]) or LETTER.match(text[end : end + 1])
    return (start, start if within else end, following)


def first_of(pattern: regex.Pattern, text: str, begin: int) -> int:
    match = pattern.search(text, begin)
    return match.start() if match else len(text)


def end_before(text: str, begin: int, left: str, end: int) -> int:
    while end > begin and text[end - 1] in left:
        end -= 1
    return end


# HTML: comments, scripts, styles and tags are removed, then the entities of the rest are decoded, once.

ENDINGS = {
    "comment": regex.compile(r"--!?>"),
    "script": regex.compile(r"</[sS][cC][rR][iI][pP][tT](?=[\t\n\f\r />])"),
    "style": regex.compile(r"</[sS][tT][yY][lL][eE](?=[\t\n\f\r />])"),
}
ELEMENT_NAME = regex.compile(r"[^\t\n\f\r />]{1,16}")
END_OF_WORD = regex.compile(f"[{SPACE}<>]")
ADDRESS = regex.compile(r"""[^"'@]*@|[^"':]*://|[wW]{3}\.|[mM][aA][iI][lL][tT][oO]:""")
ENTITY = regex.compile(r"&(#?[0-9a-zA-Z]{1,32});")


def remove_html(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    out, pending, missing = [], 0, set()
    start = text.find("<")
    while start >= 0:
        end, replacement = piece_at(text, start, missing)
        if replacement is not None:
            out += [decode_entities(text[pending:start]), replacement]
            pending = end
        start = text.find("<", end)
    return "".join(out) + decode_entities(text[pending:])


def piece_at(text: str, start: int, missing: set) -> tuple[int, Optional[str]]:
    """The end of what begins with a `<`, and its replacement; None if it is text."""
    if text.startswith("<!--", start):
        end = end_of_comment(text, start, missing)
        return (start + 4, None) if end is None else (end, "")
    closing = text.startswith("/", start + 1)
    begin = start + (2 if closing else 1)
    if not is_letter(text[begin : begin + 1]):
        if not closing and text[begin : begin + 1] not in ("!", "?"):
            return begin, None
        end = text.find(">", begin)
        return (len(text), None) if end < 0 else (end + 1, "")
    address = None if closing else address_at(text, begin)
    if address is not None:
        return begin + len(address) + 1, f" {decode_entities(address)} "
    end, closed = end_of_tag(text, begin)
    if not closed:
        return end, None
    name = ELEMENT_NAME.match(text, begin)[0].lower()
    if not closing and name in ("script", "style"):
        found = find_ending(text, name, end, missing)
        if found:
            return found.start(), ""
    return end, " " if name in BREAKING else ""


def end_of_comment(text: str, start: int, missing: set) -> Optional[int]:
    if text.startswith(">", start + 4):
        return start + 5
    if text.startswith("->", start + 4):
        return start + 6
    found = find_ending(text, "comment", start + 4, missing)
    return found.end() if found else None


def find_ending(text: str, what: str, begin: int, missing: set):
    """An end that never comes is searched only once."""
    if what in missing:
        return None
    found = ENDINGS[what].search(text, begin)
    if not found:
        missing.add(what)
    return found


def end_of_tag(text: str, begin: int) -> tuple[int, bool]:
    state, i = "tag name", begin
    while i < len(text):
        character = text[i]
        if character == ">":
            return i + 1, True
        if character in " \t\n\f\r":
            state = {"name": "after name", "tag name": "between", "value": "between"}.get(state, state)
        elif state == "before value":
            state = "value"
            if character in "\"'":
                close = text.find(character, i + 1)
                if close < 0:
                    return i + 1, False
                i, state = close, "between"
        elif character == "/":
            state = state if state == "value" else "between"
        elif character == "=" and state in ("name", "after name"):
            state = "before value"
        elif state in ("between", "after name"):
            state = "name"
        i += 1
    return len(text), False


def is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def address_at(text: str, begin: int) -> Optional[str]:
    """<joe@example.org> and <http://example.org> are not tags."""
    end = END_OF_WORD.search(text, begin)
    if not end or end[0] != ">":
        return None
    word = text[begin : end.start()]
    return word if ADDRESS.match(word) else None


def decode_entities(text: str) -> str:
    return ENTITY.sub(lambda match: character_of(match[1]) or match[0], text)


def character_of(name: str) -> Optional[str]:
    number = regex.fullmatch(r"#([xX]?)([0-9a-fA-F]+)", name)
    if not number:
        return ENTITIES.get(name)
    if not number[1] and not number[2].isdigit():
        return None
    code = int(number[2], 16 if number[1] else 10)
    if 128 <= code < 160:
        return WINDOWS_1252[code - 128]
    return chr(code) if 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
