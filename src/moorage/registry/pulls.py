"""How often and when manifests are pulled: gathered in memory and written in batches, never on the pull's path."""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import bindparam, select, update

from moorage.db import Database, Statement, Tx, insert
from moorage.db.tables import BIG, manifest, pull_stat
from moorage.errors import Unavailable

_MORE = Statement(
    update(pull_stat)
    .where(pull_stat.c.manifest_id == bindparam("manifest"))
    .values(pulls=pull_stat.c.pulls + bindparam("more"), last_at=bindparam("last"))
)
# Of a manifest that is still there: collection may have taken it since.
_FIRST = Statement(
    insert(pull_stat).from_select(
        ["manifest_id", "pulls", "last_at"],
        select(
            manifest.c.id,
            bindparam("more", type_=BIG).label("pulls"),
            bindparam("last", type_=BIG).label("last_at"),
        ).where(manifest.c.id == bindparam("manifest")),
    )
)


@dataclass(slots=True)
class Pulls:
    """The pulls of one registry that this process has not written down yet."""

    db: Database
    _seen: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._seen)

    def count(self, manifest_id: int) -> None:
        """Note one pull."""
        seen = self._seen.get(manifest_id)
        self._seen[manifest_id] = ((seen[0] if seen else 0) + 1, self.db.now())

    async def flush(self) -> int:
        """Write down what was noted; give how many manifests it was of. Raises Unavailable, and keeps it then."""
        if not self._seen:
            return 0
        taken, self._seen = self._seen, {}

        async def work(tx: Tx) -> None:
            for manifest, (more, last) in sorted(taken.items()):
                if not await tx.run(_MORE, manifest=manifest, more=more, last=last):
                    await tx.run(_FIRST, manifest=manifest, more=more, last=last)

        try:
            await self.db.record(work)
        except (Unavailable, asyncio.CancelledError):
            for manifest, (more, last) in taken.items():
                since = self._seen.get(manifest, (0, last))
                self._seen[manifest] = (since[0] + more, since[1])
            raise
        return len(taken)
