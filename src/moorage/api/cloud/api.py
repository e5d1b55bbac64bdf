"""The provider's API, put together: one table of all its calls, and one application that answers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from moorage.api.cloud import openapi
from moorage.api.cloud.account_users import AccountUsers
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.auth import Auth
from moorage.api.cloud.billing import Billing
from moorage.api.cloud.browser_sessions import BrowserSessions
from moorage.api.cloud.clients import Clients
from moorage.api.cloud.endpoints import CloudApi
from moorage.api.cloud.grants import Grants
from moorage.api.cloud.iam import Iam
from moorage.api.cloud.ledger import Responsibility
from moorage.api.cloud.limits import Limits
from moorage.api.cloud.members import Members
from moorage.api.cloud.notification_mails import NotificationMails
from moorage.api.cloud.oidc import AccountOidc
from moorage.api.cloud.own_credentials import OwnCredentials
from moorage.api.cloud.policies import Policies
from moorage.api.cloud.projects import Projects
from moorage.api.cloud.registries import Registries
from moorage.api.cloud.restrictions import Restrictions
from moorage.api.cloud.routes import Route, Table
from moorage.api.cloud.sign_in import SignIn
from moorage.api.cloud.signing_keys import SigningKeys
from moorage.api.cloud.usage import Usage
from moorage.api.cloud.users import Users
from moorage.api.cloud.webhooks import Webhooks
from moorage.cloud import members
from moorage.cloud.desk import Desk
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords
from moorage.outbound.oidc import SECONDS, Issuers
from moorage.registry.address_rules import Part
from moorage.registry.rates import Rates, unlimited

CHECKS: Final = 4
"""How many providers are asked at once who they are, when they are named."""


@dataclass(slots=True)
class Description:
    """The call that describes all calls, itself too."""

    text: dict[str, Any] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """List the call."""
        return [
            Route("GET", "/openapi.json", "openapi/get", self.get, "Describe the API", gives=dict[str, Any],
                  needs=Needs.NOTHING, added=True)
        ]  # fmt: skip

    async def get(self, _: Ask) -> dict[str, Any]:
        """Describe the API as OpenAPI 3.1 does."""
        return self.text


def cloud_api(
    desk: Desk, master: MasterKey, passwords: Passwords, *, validation: str, rates: Rates | None = None
) -> CloudApi:
    """Give what answers every call; *validation* is the path of the page where users decide about credentials."""
    registries, description = Registries(desk), Description()
    issuers = Issuers(desk.caller.apart(SECONDS, CHECKS), desk.platform.now)
    actions: list[tuple[str, str]] = []
    of_projects = Policies(desk.platform, lambda: actions)
    table = Table(
        [
            *Auth(desk.platform, validation).routes(),
            *Projects(desk.platform, desk.catalogue).routes(),
            *Clients(desk.platform).routes(),
            *AccountUsers(desk.platform, passwords).routes(),
            *BrowserSessions(desk.platform, master, passwords).routes(),
            *OwnCredentials(desk.platform).routes(),
            *AccountOidc(desk.platform, master, issuers).routes(),
            *Members(desk.platform).routes(),
            *of_projects.routes(),
            *Iam(of_projects).routes(),
            *registries.routes(),
            *Users(registries.rows, passwords).routes(),
            *Usage(desk).routes(),
            *Limits(desk, rates or unlimited()).routes(),
            *Webhooks(desk.platform, master, desk.caller).routes(),
            *NotificationMails(desk.platform).routes(),
            *Billing(desk).routes(),
            *Responsibility(desk.platform).routes(),
            *Grants(desk).routes(),
            *SigningKeys(desk.platform).routes(),
            *SignIn(registries, master).routes(),
            *(route for part in Part for route in Restrictions(desk, part).routes()),
            *description.routes(),
        ]
    )
    actions.extend(_actions(table))
    description.text = openapi.described(table.routes)
    return CloudApi(desk.platform, master, table, rates or unlimited())


def _actions(table: Table) -> list[tuple[str, str]]:
    """List the actions that policies are made of, each with what it does."""
    found: dict[str, list[str]] = {}
    for route in table.routes:
        if route.needs is Needs.ROLE and not members.owners_alone(members.PREFIX + route.action):
            found.setdefault(members.PREFIX + route.action, []).append(route.summary)
    return [(action, "; ".join(summaries)) for action, summaries in found.items()]
