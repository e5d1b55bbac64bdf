"""Problem: the base of every error that is shown to a caller.

    Problem
    ├── Unavailable        503  the database or the store is away
    │   └── StorageFull    507  there is no room left for bytes or rows
    ├── NewerSchema        503  the data was written by a newer Moorage
    └── oci.errors.OCIError     the wire's errors, one class a code

Anything else that is raised is ours: it is answered 500 and logged with its traceback.
"""

from typing import ClassVar


class Problem(Exception):
    """A caller's mistake or a refusal: *message* says which rule, which value and what to do.

    ``str(problem)`` is what the caller reads; *detail* is the same for machines. A 5xx shows the
    summary only, so that its message may hold what operators need.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 400
    summary: ClassVar[str] = "the request was refused"

    def __init__(
        self, message: str | None = None, /, *, retry_after: int | None = None, **detail: object
    ) -> None:
        super().__init__(message or self.summary)
        self.detail: dict[str, object] = detail
        self.retry_after = retry_after

    def headers(self) -> list[tuple[str, str]]:
        """List the response headers that belong to this problem, whatever the dialect."""
        if self.retry_after is None:
            return []
        return [("retry-after", str(max(0, self.retry_after)))]


class Unavailable(Problem):
    """What keeps the rows or the bytes is away; the same request will do later."""

    code, status = "UNAVAILABLE", 503
    summary = "the registry cannot reach its storage just now: please try again"


class StorageFull(Unavailable):
    """There is no room left for bytes or rows; pulls go on."""

    status = 507
    summary = "the registry's disk is full: nothing can be written until its operator makes room; pulls go on"


class NewerSchema(Problem):
    """The data was written by a newer Moorage, which this one must not touch."""

    code, status = "UNAVAILABLE", 503
    summary = "this registry's data was written by a newer version of Moorage, and waits for it"
