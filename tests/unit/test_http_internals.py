"""What is known of uvicorn's parts, and what happens when they change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from uvicorn.protocols.http import httptools_impl

from moorage.api.http import internals, server
from moorage.api.http.limits import Limits


def test_the_uvicorn_installed_is_one_that_is_known():
    assert internals.misfits(httptools_impl) == []


def test_a_part_that_is_gone_or_takes_other_arguments_is_named():
    class Cycle(httptools_impl.RequestResponseCycle):
        async def receive(self, extra: object) -> None:  # type: ignore[override]
            """Take one argument more."""

    changed = SimpleNamespace(**vars(httptools_impl))
    changed.RequestResponseCycle = Cycle
    del changed.FlowControl

    found = internals.misfits(changed)

    assert "RequestResponseCycle.receive takes other arguments" in found
    assert "FlowControl.drain is gone" in found


def test_on_an_unknown_uvicorn_its_own_protocol_is_used_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(httptools_impl, "STATUS_LINE", None)

    chosen = server.protocol(Limits())

    assert chosen == "httptools"
    assert ["STATUS_LINE is gone" in record.getMessage() for record in caplog.records] == [True]
