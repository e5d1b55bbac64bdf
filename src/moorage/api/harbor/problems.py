"""What Harbor's API refuses, in Harbor's codes."""

from __future__ import annotations

from moorage.errors import Problem


class BadRequest(Problem):
    """The request means nothing that can be done."""

    code, status, summary = "BAD_REQUEST", 400, "bad request"


class Unauthorized(Problem):
    """Nobody in particular asks for what takes somebody."""

    code, status, summary = "UNAUTHORIZED", 401, "unauthorized"


class Forbidden(Problem):
    """Whoever asks may not do this."""

    code, status, summary = "FORBIDDEN", 403, "forbidden"


class NotFound(Problem):
    """There is no such thing."""

    code, status, summary = "NOT_FOUND", 404, "not found"


class MethodNotAllowed(Problem):
    """The path is not asked with this method."""

    code, status, summary = "METHOD_NOT_ALLOWED", 405, "the path is not asked with this method"


class Conflict(Problem):
    """Something stands in the way."""

    code, status, summary = "CONFLICT", 409, "conflict"


class Precondition(Problem):
    """Something has to be otherwise first."""

    code, status, summary = "PRECONDITION", 412, "precondition failed"


class TooLarge(Problem):
    """The body is longer than any operation needs."""

    code, status, summary = "REQUEST_ENTITY_TOO_LARGE", 413, "the request's body is too large"


class MediaTypeUnknown(Problem):
    """The body is not JSON."""

    code, status, summary = (
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "the body is JSON: say Content-Type: application/json",
    )


class Invalid(Problem):
    """Something in the request breaks a rule that the API's description has."""

    code, status, summary = "UNPROCESSABLE_ENTITY", 422, "the request breaks a rule"


def invalid(where: str, name: str, rule: str) -> Invalid:
    """Make the refusal of a value that stands somewhere (``path``, ``query``, ``body``, ``header``), as Harbor words it."""
    shown = f"{name} in {where}" if name else where
    return Invalid(f"validation failure list: {shown} {rule}", field=name, rule=rule)
