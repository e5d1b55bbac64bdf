"""Who asks: a person, a machine's account, or nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["anonymous", "user", "robot"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The author of a request, as the registry's rows know it at this moment.

    Ids are never given twice, so *subject* names one account for ever, whatever becomes of its name.
    """

    kind: Kind
    id: int
    name: str
    admin: bool = False

    @property
    def subject(self) -> str:
        """Give the caller's lasting name, ``user:12`` or ``robot:7``; nobody's is empty."""
        return "" if self.kind == "anonymous" else f"{self.kind}:{self.id}"

    @property
    def is_anonymous(self) -> bool:
        """Say whether the caller gave no name."""
        return self.kind == "anonymous"


ANONYMOUS = Caller("anonymous", 0, "")
