"""Which refusals are denials, by which rule: events that whoever answers for access wants to read."""

from moorage.errors import Problem
from moorage.oci.errors import Denied, Unauthorized
from moorage.registry.errors import QuotaExceeded, TagImmutable
from moorage.registry.rates import RateExceeded

KIND = "request.denied"


def rule(problem: Problem, *, credentials: bool) -> str:
    """Name the rule that denied a request; nothing for what is no denial.

    A 401 to nobody in particular (no *credentials* were shown) only asks who it is.
    """
    if isinstance(problem, QuotaExceeded):
        return "quota"
    if isinstance(problem, TagImmutable):
        return "immutability"
    if isinstance(problem, RateExceeded):
        return "rate"
    if isinstance(problem, Denied):
        return "access"
    if isinstance(problem, Unauthorized) and credentials:
        return "scope" if problem.detail.get("reason") else "credentials"
    return ""
