"""The call that tells everything that limits a registry: how much there is, how much of it is used, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import files, times
from moorage.api.cloud import usage_models as models
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.registries import named
from moorage.api.cloud.routes import Route
from moorage.api.cloud.usage import growth
from moorage.cloud import registries
from moorage.cloud.desk import Desk
from moorage.cloud.usage import DAY
from moorage.identity.passwords import lane_of
from moorage.registry.rates import OF_PROVIDER, PROVIDER, WINDOW, Rate, Rates

_PATH: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}/limits"
_LARGER: Final = "choose a larger plan: it is in force within seconds"
_SPREAD: Final = "spread requests, share them among several identities, or ask the provider for a higher rate"


@dataclass(frozen=True, slots=True)
class Limits:
    """The call."""

    desk: Desk
    rates: Rates

    def routes(self) -> list[Route]:
        """List it."""
        return [
            Route("GET", _PATH, "containerRegistry/limits/get", self.limits,
                  "Tell each limit, its use and the time until it is reached", gives=list[models.Limit], added=True)
        ]  # fmt: skip

    async def limits(self, ask: Ask) -> list[models.Limit]:
        """Tell each limit: of the plan, of the account, and of each identity."""
        files.query(ask)
        found = await named(self.desk, ask)
        use, now = await self.desk.use(found), self.desk.platform.now()
        plan = self.desk.catalogue.plan(found.plan)
        granted = plan.grants.limit_bytes
        grows = await growth(self.desk, found, now)
        full = grows.full_at(use.stored, granted, now)
        ordered = await registries.count(self.desk.platform, found.cloud_project_id)
        return [
            _limit(
                "imageStorage", "bytes", granted, use.stored, remedy=f"delete what is not needed, or {_LARGER}",
                trend=grows.told(granted), full=full, days=None if full is None else (full - now) // DAY,
            ),
            _limit(
                "trash", "bytes", -1, use.trash,
                remedy=f"it counts against no limit, and what is in it goes after {plan.grants.trash_days} days; bring back"
                " what was deleted by mistake before",
            ),
            _limit(
                "parallelRequest", "requests", plan.grants.parallel or -1, use.parallel,
                remedy=f"ask for less at once, or {_LARGER}",
            ),
            _limit(
                "registries", "registries", self.desk.most, ordered, per="account",
                remedy="delete registries that are not needed, or ask the provider for more",
            ),
            *[await self._rate(ask, found.entry_uuid or "", rate) for rate in self.rates.rates.values()],
        ]  # fmt: skip

    async def _rate(self, ask: Ask, entry: str, rate: Rate) -> models.Limit:
        """Tell of a rate: of the provider's calls what the caller has used, for what others use is nobody's business."""
        who = lane_of(ask.address, "nowhere") if rate.name == "sign-ins" else ask.caller.counted_as
        owner, who = (OF_PROVIDER, who) if rate.name in PROVIDER else (entry, "")
        used = await self.rates.used(owner, rate, who) if rate.limit else None
        unit = f"requests in {int(WINDOW)} s"
        return _limit(
            f"requestRate/{rate.name}", unit, rate.limit or -1, used, per="identity", remedy=_SPREAD
        )


def _limit(
    name: str, unit: str, granted: int, used: int | None, *,
    remedy: str, per: str = "registry", trend: str = "", full: int | None = None, days: int | None = None,
) -> models.Limit:  # fmt: skip
    return models.Limit(
        name=name, unit=unit, per=per, granted=granted, used=used, percent=_percent(used, granted),
        trend=trend or ("no limit" if granted < 0 else "not enough data"),
        full_at=times.written_or_none(full), days_to_full=days, remedy=remedy,
    )  # fmt: skip


def _percent(used: int | None, granted: int) -> float | None:
    return None if used is None or granted <= 0 else round(used * 100 / granted, 2)
