"""Calls about an account: who it is, its cloud projects, and the regions that they may use."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.routes import Route
from moorage.cloud import accounts, cloud_projects, logins
from moorage.cloud.catalogue import Catalogue, Region
from moorage.cloud.cloud_projects import CloudProject
from moorage.db import Database
from moorage.errors import Problem

_ONE: Final = "/cloud/project/{serviceName}"
PLAN_CODE: Final = "project"
SEVERAL_ZONES: Final = "REGION-3-AZ"
SYMBOLS: Final = {"EUR": "€", "USD": "$", "GBP": "£"}
UP: Final = "UP"


class RegionNotThere(Problem):
    """The path names a region that the catalogue does not have."""

    code, status, summary = "NOT_FOUND", 404, "there is no such region"


@dataclass(frozen=True, slots=True)
class Projects:
    """Calls about an account and its cloud projects."""

    db: Database
    catalogue: Catalogue

    def routes(self) -> list[Route]:
        """List the calls."""
        anyone = Needs.CREDENTIAL
        return [
            Route("GET", "/me", "me/get", self.me, "Tell who the account is", gives=models.Me, needs=anyone),
            Route("GET", "/cloud/project", "list", self.list, "List the cloud projects that the caller may see",
                  gives=list[str], needs=anyone),
            Route("GET", _ONE, "get", self.get, "Show a cloud project", gives=models.CloudProject),
            Route("GET", f"{_ONE}/region", "region/get", self.regions, "List the regions", gives=list[str]),
            Route("GET", f"{_ONE}/region/{{regionName}}", "region/get", self.region, "Show a region", gives=models.Region),
        ]  # fmt: skip

    async def me(self, ask: Ask) -> models.Me:
        """Tell of the account, and the user who asks."""
        who = ask.caller
        home = await accounts.get(self.db, who.account_id)
        email = (await logins.profile(self.db, who.login_id)).email if who.login_id else ""
        return models.Me(
            nichandle=home.name,
            name=who.login_name,
            firstname=who.login_name,
            email=email,
            state="complete",
            currency=models.Currency(code=home.currency, symbol=SYMBOLS.get(home.currency, home.currency)),
            customer_code=home.id,
        )

    async def list(self, ask: Ask) -> builtins.list[str]:
        """List the ids of the user's cloud projects."""
        who = ask.caller
        found = await cloud_projects.listed(self.db, who.login_id or "", who.identity, self.db.now())
        return [one.id for one in found]

    async def get(self, ask: Ask) -> models.CloudProject:
        """Show a cloud project."""
        return _project(ask.allowed.cloud_project)

    async def regions(self, _: Ask) -> builtins.list[str]:
        """List the regions' names."""
        return [one.name for one in self.catalogue.regions]

    async def region(self, ask: Ask) -> models.Region:
        """Show a region, or raise RegionNotThere."""
        name = ask.params["regionName"]
        found = next((one for one in self.catalogue.regions if one.name == name), None)
        if found is None:
            raise RegionNotThere(f"there is no region {name[:80]}")
        return _region(found)


def _project(found: CloudProject) -> models.CloudProject:
    return models.CloudProject(
        project_id=found.id,
        project_name=found.description,
        description=found.description,
        plan_code=PLAN_CODE,
        creation_date=times.written(found.created_at),
        status=found.state,
        access="full",
    )


def _region(found: Region) -> models.Region:
    return models.Region(
        name=found.name,
        type="region-3-az" if found.type == SEVERAL_ZONES else "region",
        status=UP,
        datacenter_location=found.name,
        services=[models.RegionService(name="registry", status=UP)],
    )
