"""The gate of a registry that has address rules: it asks where a request comes from before anybody asks who sent it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from moorage import logs
from moorage.api.dialects import Answer
from moorage.api.front import refuse
from moorage.registry import denials
from moorage.registry.address_rules import AddressDenied, AddressRules, Part
from moorage.registry.events import Gathered, Seen


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets in whom the rules let in."""

    rules: AddressRules
    gathered: Gathered

    def is_open(self, scope: Scope, part: Part) -> bool:
        """Say whether a request may come in."""
        try:
            self.rules.check(part, _address(scope))
        except AddressDenied:
            return False
        return True

    def refuse(self, scope: Scope, part: Part) -> Answer | None:
        """Give what a request is refused with, as those who ask at its path read it, and note that; None lets it in."""
        try:
            self.rules.check(part, _address(scope))
        except AddressDenied as problem:
            self._note(scope, part)
            return refuse(scope, problem)
        return None

    def _note(self, scope: Scope, part: Part) -> None:
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        asked = f"{scope['method'][:20]} {part}"
        seen = Seen(denials.KIND, "address", "anonymous", _address(scope), bytes(agent), "", "", asked)
        self.gathered.note(seen, logs.request_id.get())


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
