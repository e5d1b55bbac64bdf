"""The call that publishes what the provider signs with: whoever holds something signed checks it by this."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.routes import Route
from moorage.cloud import signing
from moorage.db import Database


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The provider's public keys."""

    db: Database

    def routes(self) -> list[Route]:
        """List the call."""
        return [
            Route("GET", "/cloud/signingKey", "signingKey/get", self.list, "List the public keys that the provider signs with,"
                  " and those it signed with before", gives=list[models.SigningKey], needs=Needs.NOTHING, added=True),
        ]  # fmt: skip

    async def list(self, _: Ask) -> builtins.list[models.SigningKey]:
        """List them, the oldest first."""
        return [
            models.SigningKey(
                key_id=one.id,
                algorithm=signing.ALGORITHM,
                public_key=one.pem,
                created_at=times.written(one.created_at),
                retired_at=times.written_or_none(one.retired_at),
            )
            for one in await signing.published(self.db)
        ]
