"""What a body breaks, in the words of who has to keep it: read out of what msgspec says."""

from __future__ import annotations

import re

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


def told(message: str) -> tuple[str, str]:
    """Give the field that a message is about (nothing for the whole body), and the rule that it breaks."""
    found = _WHERE.fullmatch(message)
    text, where = (found[1], found[2] or "") if found else (message, "")
    for pattern, rule in ((_MISSING, "is required"), (_UNKNOWN, "is no field of this call")):
        if named := pattern.match(text):
            return f"{where}.{named[1]}".lstrip("."), rule
    return where, _rule(text)


def _rule(text: str) -> str:
    if sized := _LENGTH.match(text):
        return f"must have {'at most' if sized[2] == '<=' else 'at least'} {sized[3]} {_UNITS[sized[1]]}"
    if limited := _LIMIT.match(text):
        return f"must be {limited[1]} {limited[2]}"
    if kinds := _EXPECTED.match(text):
        wanted = " or ".join(_KINDS.get(one.strip(), one) for one in kinds[1].split("|"))
        return f"must be {wanted}, not {_KINDS.get(kinds[2], kinds[2])}"
    return text[:1].lower() + text[1:]
