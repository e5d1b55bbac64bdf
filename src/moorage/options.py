"""The settings themselves, in their groups.

Each is one field of a frozen dataclass: its variable, kind, default and help stand beside it as data, so
`moorage settings` and docs/reference/settings.md are written from the same lines that are read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from moorage import kinds, texts
from moorage.kinds import Kind, Network, Setting

T = TypeVar("T")
PREFIX = "MOORAGE_"


def _setting(variable: str, kind: Kind[T], default: str, help_: str, *, secret: bool = False) -> T:
    """Declare a field that one variable sets; secrets are left out of its class's repr."""
    known = Setting(PREFIX + variable, kind, default, help_, secret)
    value: T = dataclasses.field(default=kind.parse(default), repr=not secret, metadata={"setting": known})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Addresses, ports and who may stand in front of them."""

    host: str = _setting(
        "HOST",
        kinds.ADDRESS,
        "127.0.0.1",
        "The address that the registries and the console listen on.",
    )
    registry_port: int = _setting(
        "REGISTRY_PORT",
        kinds.PORT,
        "5000",
        "The port of the registry plane, where the first registry answers; with no domain set each"
        " further registry takes the next free port.",
    )
    console_port: int = _setting(
        "CONSOLE_PORT", kinds.PORT, "8080", "The port of the console and the provider's API."
    )
    ops_host: str = _setting(
        "OPS_HOST", kinds.ADDRESS, "127.0.0.1", "The address that the operator's port listens on."
    )
    ops_port: int = _setting("OPS_PORT", kinds.PORT, "8081", "The operator's port.")
    domain: str = _setting(
        "DOMAIN",
        kinds.DOMAIN,
        "",
        "The suffix of the registries' host names; without one, registries are told apart by port.",
    )
    names: tuple[str, ...] = _setting(
        "NAMES",
        kinds.NAMES,
        "",
        "What clients elsewhere call this machine, as they write it: a host name, with a port unless a proxy answers on"
        " the usual one. With commas between; the first is shown.",
    )
    region: str = _setting(
        "REGION", kinds.DOMAIN, "local", "The region's part of a host name: <registry>.<region>.<domain>."
    )
    tls_cert: Path | None = _setting(
        "TLS_CERT",
        kinds.FILE,
        "",
        "The certificate chain (PEM) for TLS in the process; needs MOORAGE_TLS_KEY.",
    )
    tls_key: Path | None = _setting(
        "TLS_KEY", kinds.FILE, "", "The private key (PEM) that belongs to MOORAGE_TLS_CERT."
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "TRUSTED_PROXIES",
        kinds.NETWORKS,
        "",
        "The only peers whose Forwarded and X-Forwarded-* headers are believed.",
    )
    proxy_headers: str = _setting(
        "PROXY_HEADERS",
        kinds.choice("x-forwarded", "x-forwarded-host", "forwarded"),
        "x-forwarded",
        "What trusted proxies set themselves, and is believed: X-Forwarded-For and X-Forwarded-Proto; X-Forwarded-Host"
        " with them; or Forwarded. A client may have set the others.",
    )
    workers: int = _setting(
        "WORKERS", kinds.count(1, 64), "2", "How many processes serve the registry plane."
    )
    shutdown_grace: float = _setting(
        "SHUTDOWN_GRACE",
        kinds.duration("0s", "1h"),
        "20s",
        "How long requests under way may take to end after SIGTERM before they are cut.",
    )

    @property
    def zone(self) -> str:
        """Give what the registries' host names end in, "" when ports tell registries apart."""
        return f"{self.region}.{self.domain}" if self.domain else ""

    @property
    def tls(self) -> bool:
        """Say whether this process speaks TLS itself."""
        return self.tls_cert is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where everything is kept."""

    data: Path = _setting(
        "DATA",
        kinds.FOLDER,
        "./data",
        "The folder that holds all there is, but for what the URLs below keep elsewhere.",
    )
    database_url: str = _setting(
        "DATABASE_URL",
        kinds.url("postgresql", "postgres"),
        "",
        "The PostgreSQL database of a fleet; without one, SQLite files in the data folder.",
        secret=True,
    )
    database_connections: int = _setting(
        "DATABASE_CONNECTIONS",
        kinds.count(2, 1000),
        "10",
        "How many PostgreSQL connections one process asks on. One more hears of changed rights, and a worker's jobs"
        " take five.",
    )
    platform_url: str = _setting(
        "PLATFORM_URL",
        kinds.url("postgresql", "postgres"),
        "",
        "The PostgreSQL database of the platform's own rows: accounts, orders and their record; without one, they stand"
        " beside the cell's. Pulls and pushes never need it.",
        secret=True,
    )
    store_url: str = _setting(
        "STORE_URL",
        kinds.url("file", "s3", "gs", "az", "memory"),
        "",
        "The store of the blobs' bytes, such as s3://bucket/prefix?endpoint=…&region=…; without one,"
        " files in the data folder.",
        secret=True,
    )
    redis_url: str = _setting(
        "REDIS_URL",
        kinds.url("redis", "rediss", "unix"),
        "",
        "The Valkey or Redis that replicas count parallel requests in; without one, the processes of one machine on"
        " SQLite count together, and each process of a fleet grants its share of the plan.",
        secret=True,
    )
    master_key: str = _setting(
        "MASTER_KEY",
        kinds.TEXT,
        "",
        "The key that wraps every registry's keys, 64 hexadecimal digits; while it is rotated two, with a space between, the"
        " first of which wraps. Without one, a file in the data folder.",
        secret=True,
    )
    password: str = _setting(
        "PASSWORD",
        kinds.TEXT,
        "",
        "The password of the first administrator, `admin`; without one, it is generated and printed once.",
        secret=True,
    )
    open_registries: int = _setting(
        "OPEN_REGISTRIES",
        kinds.count(2, 100_000),
        "128",
        "How many registries one process keeps open; others are opened when they are asked for.",
    )

    @property
    def blobs(self) -> str:
        """Give the URL of the store, whether it was set or follows from the data folder."""
        return self.store_url or (self.data / "blobs").as_uri()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What one connection, request or answer may be."""

    header_bytes: int = _setting(
        "HEADER_BYTES", kinds.size("4KiB", "1MiB"), "32KiB", "The largest head of a request."
    )
    header_count: int = _setting(
        "HEADER_COUNT", kinds.count(16, 10_000), "100", "The most header fields in a request."
    )
    header_seconds: float = _setting(
        "HEADER_SECONDS",
        kinds.duration("1s", "10m"),
        "10s",
        "How long a client may take to send a request's head.",
    )
    body_idle: float = _setting(
        "BODY_IDLE",
        kinds.duration("1s", "1h"),
        "60s",
        "How long a request's body may send nothing, or a response be read by nobody, before the connection is closed.",
    )
    keep_alive: float = _setting(
        "KEEP_ALIVE",
        kinds.duration("1s", "1h"),
        "75s",
        "How long an idle connection is kept for its next request.",
    )
    manifest_size: int = _setting(
        "MANIFEST_SIZE", kinds.size("1MiB", "64MiB"), "4MiB", "The largest manifest, inclusive."
    )
    tags_per_push: int = _setting(
        "TAGS_PER_PUSH", kinds.count(1, 1000), "50", "The most tags that one manifest push may name."
    )
    page_size: int = _setting(
        "PAGE_SIZE",
        kinds.count(1, 10_000),
        "1000",
        "How many names one list page holds when the client does not say; never more than MOORAGE_PAGE_SIZE_MOST."
        " Some clients never ask for a second page.",
    )
    page_size_most: int = _setting(
        "PAGE_SIZE_MOST",
        kinds.count(1, 10_000),
        "1000",
        "The most names that one list page holds, whatever the client asks.",
    )
    parallel_wait: float = _setting(
        "PARALLEL_WAIT",
        kinds.duration("0s", "1m"),
        "2s",
        "How long a request over its plan's parallel limit waits its turn before it is refused.",
    )
    slowest_transfer: int = _setting(
        "SLOWEST_TRANSFER",
        kinds.size("0", "1GiB"),
        "32KiB",
        "Bytes a second under which a transfer no longer counts as one of the plan's parallel requests.",
    )
    rates: tuple[tuple[str, int], ...] = _setting(
        "RATES",
        kinds.amounts(kinds.RATES, 6_000_000),
        "",
        "How many requests of each kind one identity may make in a minute; 0 is no limit. What is not named has its default:"
        f" {kinds.RATES}.",
    )
    ready_seconds: float = _setting(
        "READY_SECONDS",
        kinds.duration("100ms", "1m"),
        "2s",
        "How long /readyz waits for the database and the store before it says that they are away.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """Tokens and passwords."""

    token_lifetime: float = _setting(
        "TOKEN_LIFETIME", kinds.duration("1m", "1d"), "30m", "How long an access token is good for."
    )
    refresh_lifetime: float = _setting(
        "REFRESH_LIFETIME",
        kinds.duration("1h", "365d"),
        "90d",
        "How long a refresh token, which `docker login` keeps, is good for after its last use.",
    )
    password_checks: int = _setting(
        "PASSWORD_CHECKS",
        kinds.count(1, 64),
        "2",
        "How many passwords one process verifies at once; others wait, so that a flood of logins"
        " takes no more than this.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What happens in the background, and how often."""

    upload_expiry: float = _setting(
        "UPLOAD_EXPIRY",
        kinds.duration("1m", "90d"),
        "7d",
        "How long an upload may lie untouched before it is given up.",
    )
    collection_interval: float = _setting(
        "COLLECTION_INTERVAL",
        kinds.duration("1s", "30d"),
        "1h",
        "How often each registry is searched for bytes that nothing names any more.",
    )
    collection_grace: float = _setting(
        "COLLECTION_GRACE",
        kinds.duration("1s", "90d"),
        "1d",
        "How long a blob that no manifest names is promised to whoever pushed or looked for it, for the manifest"
        " that is about to name it. Trash is kept as long at least.",
    )
    pulls_interval: float = _setting(
        "PULLS_INTERVAL",
        kinds.duration("100ms", "1h"),
        "10s",
        "How often counts of pulls, requests and traffic, gathered in memory, are written: what a process that is killed"
        " takes with it.",
    )
    events_kept: float = _setting(
        "EVENTS_KEPT",
        kinds.duration("1m", "3650d"),
        "90d",
        "How long events stay in the record of a registry.",
    )
    worker_name: str = _setting(
        "WORKER_NAME",
        kinds.TEXT,
        "",
        "The name of this worker among those of a fleet, the same after a restart and no other's; without one, the"
        " machine's name.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """What customers order."""

    catalogue: Path | None = _setting(
        "CATALOGUE",
        kinds.FILE,
        "",
        "The catalogue (TOML) of regions, plans and prices; without one, that which Moorage brings with it.",
    )
    deletion_grace: float = _setting(
        "DELETION_GRACE",
        kinds.duration("0s", "365d"),
        "7d",
        "How long a registry that its customer has deleted can be taken back.",
    )
    registries_most: int = _setting(
        "REGISTRIES_MOST",
        kinds.count(1, 100_000),
        "1000",
        "How many registries one account may have.",
    )
    usage_kept: float = _setting(
        "USAGE_KEPT",
        kinds.duration("90d", "3650d"),
        "730d",
        "How long each hour of a registry's usage is kept: what was stored, traffic, requests, and its price.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How people are told."""

    smtp_url: str = _setting(
        "SMTP_URL",
        kinds.url("smtp", "smtp+starttls", "smtps"),
        "",
        "The mail server, such as smtp+starttls://user:password@mail.example.com:587; smtp:// speaks TLS if the server"
        " offers it, smtps:// from the first byte. Without one, mails wait in the outbox (`moorage mail list`).",
        secret=True,
    )
    mail_from: str = _setting(
        "MAIL_FROM", kinds.MAIL, "moorage@localhost", "The address that mails are sent from."
    )
    trash_alert: int = _setting(
        "TRASH_ALERT",
        kinds.count(0, 1000),
        "50",
        "At how many percent of its plan's storage a registry's trash is told of; 0 tells of none.",
    )
    language: str = _setting(
        "LANGUAGE", kinds.choice(*texts.languages()), texts.ENGLISH, "The language of mails."
    )
    call_networks: tuple[Network, ...] = _setting(
        "CALL_NETWORKS",
        kinds.NETWORKS,
        "",
        "The networks that webhooks, OpenID providers and issuers that robots trust may be in though they are not public,"
        " such as 10.0.0.0/8."
        " Others of that kind, this machine's own and a cloud's metadata among them, are never called.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """What is written to the standard error."""

    level: str = _setting(
        "LOG_LEVEL",
        kinds.choice("debug", "info", "warning", "error"),
        "info",
        "The least important kind of line that is logged.",
    )
    format: str = _setting(
        "LOG_FORMAT",
        kinds.choice("text", "json"),
        "text",
        "How a line is written: key=value text, or one JSON object.",
    )
