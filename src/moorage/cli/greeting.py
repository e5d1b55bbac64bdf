"""What is said of a house that answers, and of a registry that was made: under a screen, and a password only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

KEEP = "It is not shown again: keep it where you keep passwords."


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
                f"             {KEEP}",
                "",
            ]
        lines += ["A key for the provider's API:", "", "  moorage application create NAME", ""]
        lines += ["Your first push:", "", *(f"  {step}" for step in self.steps), ""]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Made:
    """A further registry: where it is, who may enter, and whether the house *runs* and the registry *answers*."""

    name: str
    address: str
    password: str | None
    _: KW_ONLY
    runs: bool
    answers: bool

    def __str__(self) -> str:
        """Write it out."""
        lines = [f"Registry   {self.name}", f"Address    {self.address}", "User       admin"]
        if self.password is not None:
            lines += [f"Password   {self.password}", f"           {KEEP}"]
        lines += ["", "Log in:", "", f"  docker login --username admin {self.address}", ""]
        if not self.runs:
            lines += ["It answers as soon as the house runs: moorage up", ""]
        elif not self.answers:
            lines += ["It does not answer yet: what moorage up has logged says why.", ""]
        return "\n".join(lines) + "\n"
