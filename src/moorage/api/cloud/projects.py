"""Calls about an account: who it is, its cloud projects, and the regions that they may use."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.routes import Route
from moorage.cloud import cloud_projects, logins
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
            Route("GET", "/cloud/project", "list", self.list, "List the cloud projects that the user is a member of",
                  gives=list[str], needs=anyone),
            Route("GET", _ONE, "get", self.get, "Show a cloud project", gives=models.CloudProject),
            Route("GET", f"{_ONE}/region", "region/get", self.regions, "List the regions", gives=list[str]),
            Route("GET", f"{_ONE}/region/{{regionName}}", "region/get", self.region, "Show a region", gives=models.Region),
        ]  # fmt: skip

    async def me(self, ask: Ask) -> models.Me:
        """Tell of the account, and the user who asks."""
        found = await logins.profile(self.db, ask.caller.login_id or "")
        return models.Me(
            nichandle=found.account_name,
            name=found.name,
            firstname=found.name,
            email=found.email,
            state="complete",
            currency=models.Currency(code=found.currency, symbol=SYMBOLS.get(found.currency, found.currency)),
            customer_code=found.account_id,
        )

    async def list(self, ask: Ask) -> builtins.list[str]:
        """List the ids of the user's cloud projects."""
        return [one.id for one in await cloud_projects.listed(self.db, ask.caller.login_id or "")]

    async def get(self, ask: Ask) -> models.CloudProject:
        """Show a cloud project."""
        return _project(await cloud_projects.get(self.db, ask.cloud_project, ask.caller.login_id or ""))

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
