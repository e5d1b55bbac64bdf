"""What can be wrong with a request's body on the wire."""

from typing import Self

from moorage.api.http.limits import Limits
from moorage.errors import Problem


class RequestTimeout(Problem):
    """The body stopped coming, or comes too slowly to keep its place."""

    code, status, summary = "REQUEST_TIMEOUT", 408, "the request's body stopped coming"

    @classmethod
    def after(cls, moved: int, limits: Limits) -> Self:
        """Say how much came, and how much should have."""
        return cls(
            f"{moved} bytes of the request's body came in {limits.pace_seconds:g} seconds: "
            f"at least {max(1, limits.pace_bytes)} must"
        )


class RequestMalformed(Problem):
    """The body breaks the rules of HTTP/1.1, so nobody can tell where it ends."""

    code, status, summary = (
        "BAD_REQUEST",
        400,
        "the request's body is not valid HTTP/1.1",
    )
