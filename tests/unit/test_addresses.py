"""Where each part answers, as clients write it."""

from __future__ import annotations

from moorage.addresses import Addresses
from moorage.registry.directory import Entry
from moorage.settings import read

ID = "12345678-1111-2222-3333-444444444444"


def entry(*, first: bool, port: int | None = None) -> Entry:
    return Entry(1, ID, "one", "LOCAL", "READY", 1, ID, port, 0, -1, int(first))


def addresses(**given: str) -> tuple[str, str]:
    """Give the first registry's address, and that of a further one on port 5001."""
    made = Addresses(read({f"MOORAGE_{name}": value for name, value in given.items()}).listening)
    further = entry(first=False, port=None if "DOMAIN" in given else 5001)
    return made.of(entry(first=True)), made.of(further)


def test_alone_a_machine_is_localhost():
    assert addresses() == ("localhost:5000", "localhost:5001")
    assert addresses(HOST="0.0.0.0") == ("localhost:5000", "localhost:5001")  # noqa: S104 - nothing is bound
    assert addresses(HOST="::5") == ("[::5]:5000", "[::5]:5001")


def test_a_name_of_the_machine_is_shown_as_it_was_given():
    assert addresses(NAMES="box.lan:5000, other") == ("box.lan:5000", "box.lan:5001")


def test_a_name_that_a_proxy_has_is_the_first_registry_s():
    assert addresses(NAMES="registry.example.com") == ("registry.example.com", "localhost:5001")


def test_in_a_domain_each_has_a_name_of_its_own():
    name = "12345678.local.example.com"

    assert addresses(DOMAIN="example.com") == (f"{name}:5000", f"{name}:5000")
    assert addresses(DOMAIN="example.com", NAMES="registry.example.com") == (
        "registry.example.com",
        f"{name}:5000",
    )


def test_behind_a_proxy_a_name_needs_no_port():
    name = "12345678.local.example.com"

    assert addresses(DOMAIN="example.com", TRUSTED_PROXIES="127.0.0.1") == (name, name)
