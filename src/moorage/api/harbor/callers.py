"""Who asks: by Basic, by a token of ours, or by the cookie of a session.

Harbor takes credentials that are wrong for none: what anybody may is answered all the same, and all else 401. So here; but
what was shown and is wrong is noted in the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage import logs
from moorage.api.harbor import csrf
from moorage.identity import configurable, sessions
from moorage.identity.access import NOBODY, Identified
from moorage.oci import errors as oci
from moorage.registry import denials
from moorage.registry.events import Seen

if TYPE_CHECKING:
    from starlette.types import Scope

    from moorage.identity.roles import OciAction, Permission
    from moorage.registry.opened import Registry


# A token is made for images. What it lets its bearer do here is to read and to delete what it was made for, in that very
# repository; whatever else the account may takes the account's own name and password.
BEARER: Final[dict[tuple[str, str], OciAction]] = {
    ("repository", "read"): "pull",
    ("artifact", "read"): "pull",
    ("artifact", "list"): "pull",
    ("artifact-addition", "read"): "pull",
    ("accessory", "list"): "pull",
    ("tag", "list"): "pull",
    ("artifact", "delete"): "delete",
}


@dataclass(frozen=True, slots=True)
class Callers:
    """Tells who asks of one registry."""

    registry: Registry

    async def identify(self, scope: Scope) -> Identified:
        """Say who asks; credentials that are wrong are nobody's. Raises TooManyRequests."""
        shown = _header(scope, b"authorization")
        if shown:
            try:
                return await self.registry.access.identify(shown, address=_address(scope))
            except oci.Unauthorized:
                self.note(scope, "credentials", "anonymous", "")
        cookie = csrf.cookie(scope, csrf.SESSION)
        if not cookie:
            return NOBODY
        db, uuid = self.registry.db, self.registry.entry.uuid
        account = await sessions.find(db, uuid, cookie, minutes=await self.minutes())
        return NOBODY if account is None else Identified(account.caller)

    def note(self, scope: Scope, rule: str, actor: str, project: str) -> None:
        """Note a denial in the record."""
        agent = _header(scope, b"user-agent").encode("latin-1")
        asked = f"{scope['method'][:20]} management"
        seen = Seen(denials.KIND, rule, actor, _address(scope), agent, project, "", asked)
        self.registry.gathered.note(seen, logs.request_id.get())

    async def minutes(self) -> int:
        """Say after how many minutes without a request a session ends."""
        timeout = await configurable.values(self.registry.db, configurable.SESSION_TIMEOUT)
        return int(timeout[configurable.SESSION_TIMEOUT])


def covers(who: Identified, permission: Permission | None, repository: str) -> bool:
    """Say whether the token that was shown reaches as far as a permission in a repository; no token limits nothing."""
    if who.grants is None:
        return True
    action = None if permission is None else BEARER.get((permission.resource, permission.action))
    return action is not None and action in who.grants.repositories.get(repository, frozenset())


def _header(scope: Scope, wanted: bytes) -> str:
    return next((bytes(value).decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
