"""The registry's configuration, as far as it is set by its own administrators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor.problems import BadRequest, Unauthorized
from moorage.identity import configurable, methods
from moorage.identity.oidc_settings import OidcInvalid, check_endpoint
from moorage.outbound.oidc import IssuerAway
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx


class Endpoint(msgspec.Struct):
    """An OpenID provider to be asked."""

    url: str | None = None
    verify_cert: bool | None = None


@dataclass(frozen=True, slots=True)
class Configurations:
    """Who answers for the configuration."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "getConfigurations": self.get,
            "updateConfigurations": self.update,
            "getInternalconfig": self.internal,
            "pingOIDC": self.ping_oidc,
        }

    async def get(self, ask: Ask) -> Answer:
        """Give all that can be set, and whether it is set here."""
        found = await configurable.values(ask.db)
        keys = configurable.KEYS
        return write.given({name: {"value": found[name], "editable": not keys[name].fixed} for name in found})

    async def update(self, ask: Ask) -> Answer:
        """Set some of it."""
        given = ask.read(dict[str, object])
        place = methods.Place(ask.access.master, ask.registry.entry.uuid)

        async def work(tx: Tx) -> None:
            before, after = await methods.configure(tx, place, given)
            if after:
                await record(
                    tx, "configuration.update", ask.origin, target="configuration", before=before, after=after
                )

        await ask.db.change(work)
        return write.done()

    async def ping_oidc(self, ask: Ask) -> Answer:
        """Ask an OpenID provider what it says of itself, or raise BadRequest, which says what is wrong."""
        given = ask.read(Endpoint)
        try:
            check_endpoint(given.url or "")
            issuers = ask.registry.sign_ins.known.of(verifies=given.verify_cert is not False)
            await issuers.metadata(given.url or "", anew=True)
        except (OidcInvalid, IssuerAway) as problem:
            raise BadRequest(f"failed to verify connection: {problem}") from None
        return write.done()

    async def internal(self, _: Ask) -> Answer:
        """Refuse: nobody who asks over the network is a part of Harbor."""
        raise Unauthorized("only internal service is allowed to call this API")
