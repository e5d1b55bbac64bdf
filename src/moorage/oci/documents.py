"""JSON from strangers, read so that no two readers can see two things in it.

The standard parser is used and not msgspec, because only it tells when a name comes twice: RFC
8259 leaves open which of the two counts, so a document with two ``layers`` would be one image to
the registry that checks it and another to the client that runs it. The same is true of
``Layers`` next to ``layers``, since Go's parser does not look at case.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import NoReturn

from moorage.oci.errors import ManifestInvalid

MAX_DEPTH = 100

# The closing quote is optional, so that an open string is taken to the end at once, and a body
# made of quotes cannot make the search quadratic.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class Repeated(dict[str, object]):
    """An object in which names come twice; whoever needs its members refuses it."""

    names: tuple[str, ...] = ()


def refusal(path: str, rule: str, value: object = ...) -> ManifestInvalid:
    """Make the error that names where in the document, which rule, and the value."""
    if value is ...:
        return ManifestInvalid(f"{path}: {rule}", path=path, rule=rule)
    shown = _shown(value)
    message = f"{path}: {rule}, but it is {shown}"
    return ManifestInvalid(message, path=path, rule=rule, value=shown)


def _shown(value: object) -> str:
    """Write a value in a few ASCII characters, whatever it is and however long."""
    if value is None:
        return "missing"
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return json.dumps(value[:120] if isinstance(value, str) else value)[:120]


def read(body: bytes) -> dict[str, object]:
    """Decode a JSON object, or raise ManifestInvalid."""
    if _deeper_than(MAX_DEPTH, body):
        raise refusal("$", f"must not be nested more than {MAX_DEPTH} deep")
    try:
        found = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_such_constant)
    except (ValueError, RecursionError) as error:
        raise refusal("$", f"must be JSON in UTF-8 ({error})") from error
    if not isinstance(found, dict):
        raise refusal("$", "must be a JSON object", found)
    return found


def unambiguous(path: str, found: dict[str, object], names: Mapping[str, str]) -> None:
    """Refuse an object in which one of *names* (by its folded form) comes twice or in odd case."""
    for name in found.names if isinstance(found, Repeated) else ():
        if name.casefold() in names:
            raise refusal(path, "must not have the same name twice", name)
    for name in found:
        known = names.get(name.casefold())
        if known is not None and known != name:
            raise refusal(path, f'must have "{known}" in this very spelling', name)


def folded(*names: str) -> dict[str, str]:
    """Key names by what they are when case is not looked at, for ``unambiguous``."""
    return {name.casefold(): name for name in names}


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.names = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return repeated


def _no_such_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _deeper_than(limit: int, body: bytes) -> bool:
    """Tell whether brackets nest deeper, at C's speed, without recursion and in one pass.

    Whether they pair up is left to the parser.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    brackets = _STRING.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0) > limit
