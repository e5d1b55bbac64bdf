"""Makes a user and a robot in a cell with the code that PYTHONPATH names, as no endpoint does yet.

python people.py REGISTRY PASSWORD     prints the robot's name and secret as JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from moorage import parts, settings
from moorage.cloud import provisioning
from moorage.db import Tx
from moorage.identity import members, robots, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.passwords import Passwords
from moorage.identity.roles import Permission, Role
from moorage.registry import projects

USER = "ann"
PROJECT = "team"


async def main(name: str, password: str) -> dict[str, str]:
    """Make them, in a registry of this name."""
    kept = settings.read(os.environ).keeping
    place = parts.Place(kept.data, kept.database_url, kept.blobs, kept.master_key)
    hashed = await Passwords().hash(password)

    async def work(tx: Tx) -> robots.NewRobot:
        home = await projects.find(tx, PROJECT) or await projects.create(tx, PROJECT)
        await members.set_user(
            tx, home.id, await users.create(tx, name=USER, password=hashed), Role.DEVELOPER
        )
        grants = [Grant("project", PROJECT, Permission("repository", action)) for action in ("pull", "push")]
        owner, creator = robots.Owner(home.id, PROJECT), Caller("user", 1, "admin", admin=True)
        return await robots.create(tx, name="builder", owner=owner, grants=grants, creator=creator)

    async with parts.opened(place) as opened:
        entry = next(one for one in await provisioning.listed(opened.cell) if one.name == name)
        db = await opened.open_database(entry)
        made = await db.change(work)
        await db.close()
    return {"name": made.name, "secret": made.secret}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
