"""The servers that tests may ask for, and the loops that they run on."""

import asyncio
import gc
from collections.abc import Callable, Mapping

import pytest
import uvloop

from moorage.identity.passwords import Passwords
from tests.servers.passwords import CHEAP

pytest_plugins = (
    "tests.functional.http_world",
    "tests.servers.directory",
    "tests.servers.postgres",
    "tests.servers.redis",
    "tests.servers.seaweedfs",
    "tests.worlds",
    "tests.functional.cloud_world",
    "tests.functional.session_world",
    "tests.functional.oidc_world",
    "tests.functional.ordering_world",
    "tests.functional.cloud_api_world",
)

# Every world has people who sign in, and at their full price that is a fifth of what all tests cost. A house that runs in
# processes of its own pays it, and tests/unit/test_identity_passwords.py holds what it is.
Passwords.hasher = CHEAP

# What the cases assert is told in full when it fails, whoever imports them first.
pytest.register_assert_rewrite(
    "tests.conformance.site",
    "tests.conformance.cases_lists",
    "tests.conformance.cases_manifests",
    "tests.conformance.cases_pulls",
    "tests.conformance.cases_pushes",
)


def pytest_collection_finish() -> None:
    """Look no more for garbage in what was imported and collected: it stays, and looking through it costs a tenth of a run."""
    gc.collect()
    gc.freeze()


# These talk to a server on sockets, so they run on the loop that production has.
ON_UVLOOP = {
    "test_http_ending.py",
    "test_http_protocol.py",
    "test_http_tls.py",
    "test_http_transfers.py",
    "test_ldap_client.py",
    "test_slow_transfers.py",
}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the loop of a test."""
    if item.path.name in ON_UVLOOP:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
