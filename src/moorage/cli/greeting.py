"""What `moorage up` says once everything answers: under a screen, and the password only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """Where everything is; *name* if clients elsewhere write another; *password* only when it was just generated."""

    version: str
    registry: str
    name: str
    console: str
    ops: str
    data: str
    password: str | None
    steps: Sequence[str]

    def __str__(self) -> str:
        """Write it out."""
        lines = [
            f"Moorage {self.version} is running. Ctrl-C stops it.",
            "",
            f"  Registry   {self.registry}",
            *([f"  Its name   {self.name}"] if self.name else []),
            f"  Console    {self.console}",
            f"  Operator   {self.ops}",
            f"  Data       {self.data}",
            "",
        ]
        if self.password is not None:
            lines += [
                "  User       admin",
                f"  Password   {self.password}",
                "             It is not shown again: keep it where you keep passwords.",
                "",
            ]
        lines += ["Your first push:", "", *(f"  {step}" for step in self.steps), ""]
        return "\n".join(lines) + "\n"
