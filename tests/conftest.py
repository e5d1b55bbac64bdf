"""The servers that tests may ask for, and the loops that they run on."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from pathlib import Path

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
    "tests.functional.ldap_world",
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


# Those with the longest tests, the longest first: most of them start houses and kill them. Begun last, the others would wait
# for them at the end with nothing to do.
LONG = (
    "upgrade/test_upgrade.py",
    "functional/test_plan_replicas.py",
    "functional/test_key_commands.py",
    "model/test_interleavings.py",
    "abuse/test_uploads.py",
    "crash/test_cloud_replicas.py",
    "crash/test_worker.py",
    "crash/test_registry_outages.py",
    "crash/test_registry_kills.py",
    "crash/test_registry_replicas.py",
    "crash/test_stopping.py",
    "functional/test_running.py",
    "functional/test_up.py",
    "functional/test_carrying.py",
    "functional/test_work_house.py",
    "functional/test_supervisor.py",
    "conformance/test_official.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest.

    pytest-xdist hands each worker a stretch of the order, and who has done theirs takes from the end of another's: so each
    stretch begins with some of the long ones, module by module, since a module's tests share what they start.
    """
    here = Path(__file__).parent
    places = {here / path: place for place, path in enumerate(LONG)}
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    heads: list[list[pytest.Item]] = [[] for _ in range(workers)]
    rest: list[pytest.Item] = []
    for item in sorted(items, key=lambda item: places.get(item.path, len(LONG))):
        place = places.get(item.path)
        (rest if place is None else heads[place % workers]).append(item)
    size = len(items) // workers
    items.clear()
    for head in heads:
        count = max(0, size - len(head))
        items += [*head, *rest[:count]]
        del rest[:count]
    items += rest


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
