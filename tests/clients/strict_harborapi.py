"""harborapi, with models that let nothing pass that they do not know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from harborapi import HarborAsyncClient
from harborapi.exceptions import Forbidden, StatusError, Unauthorized
from pydantic import BaseModel

from tests.clients.conftest import SECONDS

_Seen = TypeVar("_Seen")

# Fields of Harbor 2.15 that are younger than the client, and ours.
YOUNGER: Final = {
    "ConfigurationsResponse.disabled_audit_log_event_types",
    "ConfigurationsResponse.ldap_ca_certificates",
    "ConfigurationsResponse.oidc_logout",
}


class Strict(HarborAsyncClient):
    """The client, with each answer of exactly the types and fields that its models know."""

    def construct_model(self, cls: Any, data: Any, is_list: bool = False) -> Any:  # noqa: FBT001, FBT002 - the client's
        """Read one or several *cls* out of an answer."""
        found = [
            cls.model_validate_json(json.dumps(one), strict=True) for one in (data if is_list else [data])
        ]
        for one in found:
            assert {*unknown(one)} <= YOUNGER, data
        return found if is_list else found[0]


def unknown(value: Any) -> list[str]:
    """List the fields of an answer, and of what is in it, that the client knows nothing of."""
    if isinstance(value, list):
        return [name for one in value for name in unknown(one)]
    if not isinstance(value, BaseModel):
        return []
    inside = [name for field in type(value).model_fields for name in unknown(getattr(value, field))]
    return [f"{type(value).__name__}.{name}" for name in value.model_extra or ()] + inside


SignIn = Callable[..., Strict]


async def seen(ask: Callable[[], Awaitable[_Seen]]) -> _Seen:
    """Ask until somebody may, and give the answer: a process learns a moment later what another one has changed."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await ask()
            except (Forbidden, Unauthorized):
                await asyncio.sleep(0.1)


async def refused(ask: Callable[[], Awaitable[object]], how: type[StatusError]) -> None:
    """Ask until somebody may no longer."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await ask()
            except (Forbidden, Unauthorized) as problem:
                if isinstance(problem, how):
                    return
            await asyncio.sleep(0.1)
