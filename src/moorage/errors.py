"""The base of every error that is shown to a caller.

    Problem                the caller's mistake, or a refusal
    ├── Unavailable        something we need is away; worth trying again
    ├── NewerSchema        the data was written by a newer release
    └── oci.errors.*       one class a code of the distribution spec

Anything else that is raised is ours: a 500, logged with its traceback.
"""

from typing import ClassVar


class Problem(Exception):
    """A caller's mistake: what is wrong, in words a person can act on, and the facts beside it."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    summary: ClassVar[str] = "unknown error"

    def __init__(self, message: str | None = None, /, *, retry_after: int | None = None, **detail: object) -> None:
        super().__init__(message or self.summary)
        self.detail = detail
        self.retry_after = retry_after


class Unavailable(Problem):
    """The database or the store is away, or busy beyond its limit; the same call may work soon."""

    code, status, summary = "UNAVAILABLE", 503, "the registry is unavailable for the moment"


class NewerSchema(Problem):
    """The data was written by a newer release, which this one cannot read."""

    code, status, summary = "UNAVAILABLE", 503, "the data was written by a newer release"
