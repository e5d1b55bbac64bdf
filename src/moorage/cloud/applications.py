"""Applications that whoever runs Moorage makes by a command: whole, for the first account's owner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from moorage.cloud import accounts, credentials, events, oauth2, policies
from moorage.cloud.events import Origin
from moorage.cloud.policies import Terms
from moorage.cloud.rules import EVERYTHING, Limits
from moorage.db import Tx
from moorage.errors import Problem
from moorage.identity.keys import MasterKey

LONGEST: Final = 64


class ApplicationNameInvalid(Problem):
    """The name breaks a rule for applications' names."""

    code, status, summary = "BAD_REQUEST", 400, "an application cannot be called so"


class AccountMissing(Problem):
    """There is no first account, so Moorage was never started here."""

    code, status, summary = "NOT_FOUND", 404, "there is no account yet: run `moorage up` once"


@dataclass(frozen=True, slots=True)
class Signing:
    """What a client of the API signs its calls with, and the cloud project that it may order in."""

    key: str
    secret: str = field(repr=False)
    consumer_key: str = field(repr=False)
    cloud_project: str


@dataclass(frozen=True, slots=True)
class Service:
    """What a program in its own name asks for tokens with, and the cloud project that it may order in."""

    client: str
    secret: str = field(repr=False)
    cloud_project: str


def check_name(name: str) -> None:
    """Raise ApplicationNameInvalid for what no application may be called."""
    if not 0 < len(name) <= LONGEST or not name.isprintable() or name != name.strip():
        raise ApplicationNameInvalid(
            f"name: {name[:80]!r} must have 1 to {LONGEST} visible characters, and no space at either end",
            field="name",
        )


async def create(tx: Tx, master: MasterKey, *, name: str, origin: Origin) -> Signing:
    """Make an application with a credential for every call of the first account's owner.

    Its secrets are given this once. Raises ApplicationNameInvalid and AccountMissing.
    """
    check_name(name)
    home = await accounts.first(tx)
    if home is None:
        raise AccountMissing
    made = await credentials.create_application(
        tx, master, account=home.account_id, login=home.login_id, name=name
    )
    consumer = await credentials.create_validated(tx, made.id, home.login_id, Limits(EVERYTHING))
    await events.record(
        tx,
        "application.created",
        origin,
        target=made.id,
        account=home.account_id,
        name=name,
        rules="everything",
    )
    return Signing(made.key, made.secret, consumer, home.cloud_project_id)


async def create_client(tx: Tx, *, name: str, origin: Origin) -> Service:
    """Make an OAuth2 client that a policy lets do everything in the first account's cloud project.

    Its secret is given this once. Raises ApplicationNameInvalid and AccountMissing.
    """
    check_name(name)
    home = await accounts.first(tx)
    if home is None:
        raise AccountMissing
    made = await oauth2.create(
        tx, home.account_id, name=name, description="", limits=Limits(EVERYTHING), origin=origin
    )
    terms = Terms(
        name=name,
        identities=(made.client.identity,),
        resources=(policies.PROJECT + home.cloud_project_id,),
        allow=(f"{policies.PREFIX}*",),
    )
    await policies.create(tx, home.cloud_project_id, home.account_id, terms, origin)
    return Service(made.client.id, made.secret, home.cloud_project_id)
