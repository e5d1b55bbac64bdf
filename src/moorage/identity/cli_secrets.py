"""Secrets by which people who sign in by an OpenID provider use docker and other clients: kept as a hash, shown once.

A secret is its user's, not an ID token's: it is good until another takes its place, as long as the account may be used and people
sign in to the registry by this provider. What one may with it, the groups of the last sign-in say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from moorage.errors import Problem
from moorage.identity import methods, outsiders, users
from moorage.identity.configuration import get as configured

if TYPE_CHECKING:
    from moorage.db import Reader, Tx


class NoOutsider(Problem):
    """The user does not sign in by an OpenID provider."""

    code, status, summary = (
        "PRECONDITION",
        412,
        "this user does not sign in by an OpenID provider, and has no CLI secret",
    )


async def of(reader: Reader, number: int) -> str | None:
    """Give the hash of a user's secret, if it is good now."""
    known = await outsiders.of_user(reader, number)
    if known is None or not known.kept.cli_secret or not (await methods.on(reader)).oidc:
        return None
    endpoint = (await configured(reader, methods.ENDPOINT)).get(methods.ENDPOINT)
    return known.kept.cli_secret if endpoint is not None and endpoint.text == known.issuer else None


async def is_outsider(reader: Reader, number: int) -> bool:
    """Say whether a user signs in by an OpenID provider."""
    known = await outsiders.of_user(reader, number)
    return known is not None and known.is_oidc


async def put(tx: Tx, number: int, hashed: str) -> None:
    """Give a user another secret; whatever was signed in by the one before is not any more. Raises NoOutsider."""
    known = await outsiders.of_user(tx, number)
    if known is None or not known.is_oidc:
        raise NoOutsider
    await outsiders.keep(tx, known, msgspec.structs.replace(known.kept, cli_secret=hashed))
    await users.sign_out(tx, number)
