"""How a command starts, and how it ends: its settings, the parts that it opens, and one line for what an operator puts right."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from moorage import logs, running, settings
from moorage.kinds import BadSetting
from moorage.settings import Settings
from moorage.supervisor import HOPELESS

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from moorage.parts import Parts, Place

LOG = logging.getLogger(__name__)

DESCRIPTORS = 65_536
"""Most systems begin a process with 1,024, and let it ask for more."""


def start(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings and begin to log, or end with the line that says which setting is wrong."""
    try:
        set_ = settings.read(environ)
    except BadSetting as bad:
        give_up(str(bad), HOPELESS)
    logs.start(set_.logging.level, set_.logging.format)
    _allow_descriptors()
    return set_


def _allow_descriptors() -> None:
    """Take as many descriptors as this user may have: each registry may have a port, and each that is open some files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def beside() -> tuple[Settings, bool]:
    """Start as the house does that runs in the data folder, but for what is set here; say whether one runs."""
    try:
        data = settings.folder(os.environ)
        house = running.settings_of(data)
    except BadSetting as bad:
        give_up(str(bad), HOPELESS)
    except running.CannotAsk as refused:
        give_up(str(refused), 1)
    return start(settings.beside(house, os.environ)), bool(house)


def within() -> tuple[Settings, bool]:
    """Start as `beside` does, but only where a house has been made."""
    set_, runs = beside()
    if not set_.keeping.database_url and not place_of(set_).cell_file.exists():
        wanted = "`moorage up` makes one; where one is elsewhere, set MOORAGE_DATA to its folder"
        give_up(f"there is no house in {set_.keeping.data}: {wanted}", 1)
    return set_, runs


def place_of(set_: Settings) -> Place:
    """Say where the settings keep everything."""
    from moorage.parts import Place

    kept = set_.keeping
    return Place(
        kept.data,
        kept.database_url,
        kept.blobs,
        kept.master_key,
        connections=kept.database_connections,
        platform_url=kept.platform_url,
    )


def opened(
    set_: Settings, *, create: bool = False, platform: bool = False
) -> AbstractAsyncContextManager[Parts]:
    """Open the parts; the *platform*'s rows only if that is asked for."""
    from moorage import parts

    return parts.opened(place_of(set_), create=create, platform=platform)


def on_platform(work: Callable[[Parts], Awaitable[None]]) -> int:
    """Do something with the parts of the house that is here, the platform's rows among them, and give the status."""
    set_, _ = within()

    async def main() -> None:
        async with opened(set_, platform=True) as parts:
            await work(parts)

    return run(main())


def run(main: Coroutine[Any, Any, None]) -> int:
    """Run a command to its end, and give its status."""
    from moorage.api.http import server

    with telling():
        server.run(main)
    return 0


def run_worker(main: Coroutine[Any, Any, None]) -> NoReturn:
    """Run a worker until it ends, and the process with it."""
    from moorage.jobs import CannotWork

    status: object = 1
    try:
        try:
            status = run(main)
        except* CannotWork as broken:
            sys.stderr.write("".join(f"{one}\n" for one in broken.exceptions))
    except SystemExit as told:
        status = told.code
    except BaseException:
        # Whatever it was, the process ends here, with this line.
        LOG.exception("the worker failed")
    # Threads of the jobs' engine may wait for a database that does not come back. Whatever they do, the next worker
    # takes it up.
    logging.shutdown()
    os._exit(status if isinstance(status, int) else 1)


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Turn what an operator has to put right into one line, and a status that says it."""
    from moorage.cloud.catalogue import CatalogueInvalid
    from moorage.errors import NewerSchema, Problem
    from moorage.identity.keys import MasterKeyWrong
    from moorage.identity.users import PasswordTooWeak
    from moorage.storage.opening import StoreAddressInvalid

    try:
        yield
    except MasterKeyWrong as wrong:
        give_up(f"MOORAGE_MASTER_KEY: {wrong}", HOPELESS)
    except CatalogueInvalid as wrong:
        give_up(f"MOORAGE_CATALOGUE: {wrong}", HOPELESS)
    except BadSetting as bad:
        give_up(str(bad), HOPELESS)
    except StoreAddressInvalid as wrong:
        give_up(f"MOORAGE_STORE_URL: {wrong}", HOPELESS)
    except PasswordTooWeak as wrong:
        give_up(f"MOORAGE_PASSWORD: {wrong}", HOPELESS)
    except Problem as problem:
        give_up(str(problem), HOPELESS if isinstance(problem, NewerSchema) else 1)


def give_up(line: str, status: int) -> NoReturn:
    """End the process with a line that says why."""
    sys.stderr.write(f"{line}\n")
    sys.exit(status)
