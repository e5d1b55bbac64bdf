"""What each part answers on its sockets: the registry plane's, the console's and the operator's pages, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.routing import Router

from moorage import first_start
from moorage.addresses import Addresses
from moorage.api.forwarded import Family, Proxies
from moorage.api.front import front, nothing_here
from moorage.api.health import Health
from moorage.api.http.limits import Limits
from moorage.kinds import BadSetting
from moorage.serving import Site, tls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping, Sequence

    from starlette.routing import Route
    from starlette.types import ASGIApp

    from moorage.parts import Parts
    from moorage.planes import RegistryPlane
    from moorage.registry.rates import Rates
    from moorage.settings import Settings

    Sockets = Mapping[str, Sequence[socket.socket]]

    class Pages(Protocol):
        """What answers at some paths."""

        def routes(self) -> list[Route]:
            """List them."""
            ...


def registry(set_: Settings, parts: Parts, sockets: Sockets, plane: RegistryPlane) -> list[Site]:
    """Give what the registry plane answers with; raises BadSetting."""
    from moorage.api.plane import Plane  # noqa: PLC0415 - the console should not pay for it.

    return [_site(set_, "registry", Plane(_pages(_health(set_, parts)), plane.find, plane.known), sockets)]


async def console(set_: Settings, parts: Parts, sockets: Sockets, rates: Rates) -> list[Site]:
    """Give what the console's and the operator's ports answer with; raises BadSetting."""
    from moorage.api.cloud.api import cloud_api  # noqa: PLC0415 - the registry plane should not pay for it.
    from moorage.api.cloud.tokens import Tokens  # noqa: PLC0415 - as above.
    from moorage.api.paced import Paced  # noqa: PLC0415 - as above.
    from moorage.cloud import console_guesses, provisioning  # noqa: PLC0415 - as above.
    from moorage.cloud.oidc_sign_in import SignIns  # noqa: PLC0415 - as above.
    from moorage.identity.passwords import Passwords  # noqa: PLC0415 - as above.
    from moorage.ordering import desk  # noqa: PLC0415 - as above.
    from moorage.outbound.oidc import SECONDS, THREADS, Issuers  # noqa: PLC0415 - as above.
    from moorage.web import validation  # noqa: PLC0415 - as above.
    from moorage.web.console import Console  # noqa: PLC0415 - as above.
    from moorage.web.oidc import Oidc  # noqa: PLC0415 - as above.
    from moorage.web.sign_in import SignIn  # noqa: PLC0415 - as above.

    health = _health(set_, parts)
    addresses = Addresses(set_.listening)
    first = [addresses.of(one) for one in await provisioning.listed(parts.cell) if one.first]
    address = first[0] if first else addresses.here
    shared = console_guesses.of_console(parts.platform)
    passwords = Passwords(threads=set_.entering.password_checks, shared=shared)
    orders = desk(set_, parts)
    issuers = Issuers(orders.caller.apart(SECONDS, THREADS), parts.platform.now)
    pages = _pages(
        health,
        Console(address, first_start.first_push(address)),
        validation.Validation(parts.platform, parts.master, passwords),
        SignIn(parts.platform, parts.master, passwords),
        Oidc(SignIns(parts.platform, parts.master, issuers)),
        Tokens(parts.platform, rates=rates),
        rest=cloud_api(orders, parts.master, passwords, validation=validation.PATH, rates=rates),
    )
    return [_site(set_, "console", Paced(pages, rates), sockets), _site(set_, "ops", _pages(health), sockets)]


def _site(set_: Settings, name: str, app: ASGIApp, sockets: Sockets) -> Site:
    proxies = Proxies(set_.listening.trusted_proxies, Family(set_.listening.proxy_headers))
    return Site(
        name=name,
        app=front(app, proxies),
        sockets=sockets[name],
        limits=_limits(set_),
        # The operator's port is this machine's own, and is asked by probes that know no certificate.
        tls=None if name == "ops" else _tls(set_),
    )


def _limits(set_: Settings) -> Limits:
    asked = set_.requests
    return Limits(
        head_seconds=asked.header_seconds,
        head_bytes=asked.header_bytes,
        head_fields=asked.header_count,
        idle_seconds=asked.keep_alive,
        pace_seconds=asked.body_idle,
    )


def _tls(set_: Settings) -> ssl.SSLContext | None:
    certificate, key = set_.listening.tls_cert, set_.listening.tls_key
    if certificate is None or key is None:
        return None
    try:
        return tls(certificate, key)
    except OSError as error:
        raise BadSetting(f"MOORAGE_TLS_CERT, MOORAGE_TLS_KEY: they cannot be used: {error}") from None


def _pages(health: Health, *others: Pages, rest: ASGIApp = nothing_here) -> ASGIApp:
    """Put pages together; *rest* answers every other path."""
    routes = [*health.routes(), *(route for page in others for route in page.routes())]
    return Router(routes, redirect_slashes=False, default=rest)


def _health(set_: Settings, parts: Parts) -> Health:
    checks = {"database": parts.ask_database, "store": parts.ask_store}
    return Health(checks, set_.requests.ready_seconds)
