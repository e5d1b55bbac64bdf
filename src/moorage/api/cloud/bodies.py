"""Bodies of requests: JSON, read once into a struct; a refusal names the field and the rule that it breaks."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from moorage.api.http.bodies import Body
from moorage.errors import Problem

LARGEST: Final = 64 * 1024

T = TypeVar("T")

_NOTHING = frozenset({b"", b"null"})
_JSON = frozenset({"", "application/json"})
_WHERE = re.compile(r"(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?", re.DOTALL)
_KINDS = {
    "array": "an array", "bool": "true or false", "int": "an integer", "null": "null",
    "object": "an object", "str": "a string", "float": "a number",
}  # fmt: skip
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<=|>=) (\d+)")
_LIMIT = re.compile(r"Expected `int` (<=|>=|<|>) (-?\d+)")
_UNITS = {"str": "characters", "array": "elements", "object": "fields"}


class BodyInvalid(Problem):
    """The body, or a field of it, breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "the request's body breaks a rule"


class BodyTooLarge(Problem):
    """The body is longer than any call needs."""

    code, status, summary = "SIZE_INVALID", 413, "the request's body is too large"


async def receive(body: Body) -> bytes:
    """Give a request's whole body, or raise BodyTooLarge."""
    return await body.read(LARGEST, refusal=BodyTooLarge)


def read(body: bytes, content_type: str, kind: type[T]) -> T:
    """Read a body, or raise BodyInvalid, which names the field and the rule. None, and null, are an empty object."""
    if content_type.partition(";")[0].strip().lower() not in _JSON:
        raise BodyInvalid("the body is JSON: say Content-Type: application/json", field="", rule="JSON")
    try:
        return msgspec.json.decode(b"{}" if body.strip() in _NOTHING else body, type=kind)
    except msgspec.ValidationError as error:
        raise _told(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyInvalid(f"the body is no JSON: {error}", field="", rule="JSON") from None


def invalid(field: str, rule: str) -> BodyInvalid:
    """Make the refusal of a field that breaks a rule which no type tells."""
    return BodyInvalid(f"{field}: {rule}", field=field, rule=rule)


def _told(message: str) -> BodyInvalid:
    found = _WHERE.fullmatch(message)
    text, where = (found[1], found[2] or "") if found else (message, "")
    for pattern, rule in ((_MISSING, "is required"), (_UNKNOWN, "is no field of this call")):
        if named := pattern.match(text):
            return invalid(f"{where}.{named[1]}".lstrip("."), rule)
    return invalid(where or "the body", _rule(text))


def _rule(text: str) -> str:
    """Say a rule in the words of who has to keep it."""
    if sized := _LENGTH.match(text):
        return f"must have {'at most' if sized[2] == '<=' else 'at least'} {sized[3]} {_UNITS[sized[1]]}"
    if limited := _LIMIT.match(text):
        return f"must be {limited[1]} {limited[2]}"
    if kinds := _EXPECTED.match(text):
        wanted = " or ".join(_KINDS.get(one.strip(), one) for one in kinds[1].split("|"))
        return f"must be {wanted}, not {_KINDS.get(kinds[2], kinds[2])}"
    return text[:1].lower() + text[1:]
