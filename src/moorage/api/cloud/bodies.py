"""Bodies of requests: JSON, read once into a struct; a refusal names the field and the rule that it breaks."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from moorage.api import rules
from moorage.api.http.bodies import Body
from moorage.errors import Problem

LARGEST: Final = 64 * 1024

T = TypeVar("T")

_NOTHING = frozenset({b"", b"null"})
_JSON = frozenset({"", "application/json"})


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
        field, rule = rules.told(str(error))
        raise invalid(field or "the body", rule) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyInvalid(f"the body is no JSON: {error}", field="", rule="JSON") from None


def invalid(field: str, rule: str) -> BodyInvalid:
    """Make the refusal of a field that breaks a rule which no type tells."""
    return BodyInvalid(f"{field}: {rule}", field=field, rule=rule)
