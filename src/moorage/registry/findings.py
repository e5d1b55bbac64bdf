"""What a check of a registry finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be: of which kind, where, and what it should be."""

    kind: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.found}, should be {self.expected}"
