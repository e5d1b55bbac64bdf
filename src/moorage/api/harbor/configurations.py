"""The registry's configuration, as far as it is set by its own administrators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moorage.api.harbor import answers as write
from moorage.api.harbor.problems import Unauthorized
from moorage.identity import configurable, configuration
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx


@dataclass(frozen=True, slots=True)
class Configurations:
    """Who answers for the configuration."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "getConfigurations": self.get,
            "updateConfigurations": self.update,
            "getInternalconfig": self.internal,
        }

    async def get(self, ask: Ask) -> Answer:
        """Give all that can be set, and whether it is set here."""
        found = await configurable.values(ask.db)
        keys = configurable.KEYS
        return write.given({name: {"value": found[name], "editable": not keys[name].fixed} for name in keys})

    async def update(self, ask: Ask) -> Answer:
        """Set some of it."""
        given = ask.read(dict[str, object])

        async def work(tx: Tx) -> None:
            now = await configurable.values(tx)
            changed = configurable.changes(now, given)
            if not changed:
                return
            await configuration.put(tx, changed)
            before = {name: now[name] for name in changed}
            await record(
                tx, "configuration.update", ask.origin, target="configuration", before=before, after=changed
            )

        await ask.db.change(work)
        return write.done()

    async def internal(self, _: Ask) -> Answer:
        """Refuse: nobody who asks over the network is a part of Harbor."""
        raise Unauthorized("only internal service is allowed to call this API")
