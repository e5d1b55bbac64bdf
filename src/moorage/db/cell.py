"""The cell's directory: which registries live here, under which names, where, and within which limits.

The control plane writes it and the registry plane reads it. It stands in the cell's own database, so pulls need
nothing of the platform's.
"""

from typing import Final

from sqlalchemy import Column, ForeignKey, Identity, Index, MetaData, Table, text

from moorage.db.tables import ASCII, BIG, BYTES, NUMBER, SMALL

metadata = MetaData()

# ``generation`` is part of a SQLite registry's file name: a path is never used twice. Sizes are bytes and -1 is no
# limit; ``parallel`` counts requests at once on /v2, 0 is no limit.
entry = Table(
    "entry",
    metadata,
    Column("id", NUMBER, Identity(always=False), primary_key=True),
    Column("uuid", ASCII, nullable=False, unique=True),
    Column("name", ASCII, nullable=False),
    Column("plan", ASCII, nullable=False),
    Column("state", ASCII, nullable=False),
    Column("generation", BIG, nullable=False, server_default=text("1")),
    Column("prefix", ASCII, nullable=False, unique=True),
    Column("port", BIG, nullable=True, unique=True),
    Column("parallel", BIG, nullable=False, server_default=text("0")),
    Column("limit_bytes", BIG, nullable=False, server_default=text("-1")),
    Column("first", SMALL, nullable=False, server_default=text("0")),
    Column("created_at", BIG, nullable=False),
    Column("deleted_at", BIG, nullable=True),
    sqlite_autoincrement=True,
    info={"kind": "access"},
)
Index(
    "entry_name",
    entry.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)

# Host names are never given to another registry, so they outlive it here.
host = Table(
    "host",
    metadata,
    Column("name", ASCII, primary_key=True),
    Column("entry_id", BIG, ForeignKey("entry.id"), nullable=False),
    Column("created_at", BIG, nullable=False),
    info={"kind": "access"},
)

TRAFFIC: Final = ("manifest_pulls", "blob_pulls", "pushes", "others", "refusals", "bytes_in", "bytes_out")
"""What is counted of a registry's requests."""

# What a process (``source``) has counted of a registry in an hour, all of it, so a row that is written again is right
# still. It stands here and not among the registry's own rows since one change writes those of all registries that a
# process serves. ``writes`` counts how often it was written, and ``rolled`` is that count as it was when the platform
# took over what stands here: while they differ, the platform has it to do.
traffic = Table(
    "traffic",
    metadata,
    Column("hour", BIG, primary_key=True, autoincrement=False),
    Column("entry_uuid", ASCII, primary_key=True),
    Column("source", ASCII, primary_key=True),
    *(Column(name, BIG, nullable=False, server_default=text("0")) for name in TRAFFIC),
    Column("writes", BIG, nullable=False),
    Column("rolled", BIG, nullable=False, server_default=text("0")),
    info={"kind": "record"},
)
Index(
    "traffic_due",
    traffic.c.hour,
    traffic.c.entry_uuid,
    sqlite_where=text("writes <> rolled"),
    postgresql_where=text("writes <> rolled"),
)

# From which addresses a registry may be used: for each part blocks in CIDR, apart by spaces; none lets everybody in. ``at``
# rises with each change, so that a late writer of an old list writes nothing.
address_rules = Table(
    "address_rules",
    metadata,
    Column("entry_id", BIG, ForeignKey("entry.id"), primary_key=True, autoincrement=False),
    Column("registry", ASCII, nullable=False),
    Column("management", ASCII, nullable=False),
    Column("at", BIG, nullable=False),
    info={"kind": "access"},
)

# Wrong passwords of late of all registries, by what they came from: ``hash`` names the registry and that. ``next_at`` is used
# where a user who is guessed at has turns.
registry_guess = Table(
    "registry_guess",
    metadata,
    Column("hash", BYTES, primary_key=True),
    Column("count", BIG, nullable=False),
    Column("at", BIG, nullable=False),
    Column("next_at", BIG, nullable=False, server_default=text("0")),
    info={"kind": "record"},
)
Index("registry_guess_at", registry_guess.c.at)
