"""From an operator's address of a store to the store."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from moorage.storage.memory import MemoryStore
from moorage.storage.posix import PosixStore
from moorage.storage.threads import Threads

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

    from moorage.storage.objects import Remote
    from moorage.storage.store import BlobStore

REDIRECT_FOR = timedelta(minutes=20)


class StoreAddressInvalid(ValueError):
    """The operator's address names no store that there is."""


def open_store(
    url: str, *, environment: Mapping[str, str] | None = None, threads: Threads | None = None
) -> "BlobStore":
    """Open ``memory:``, ``file:///path`` or ``s3://bucket/prefix?endpoint=…&region=…&redirect=1``.

    ``gs://`` and ``az://`` are object stores too. Credentials come from the address or else from
    *environment*, under their usual names. Raises StoreAddressInvalid.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return PosixStore(Path(unquote(parts.path)), threads=threads)
    if parts.scheme in {"s3", "gs", "az"} and parts.netloc:
        return _open_objects(parts, os.environ if environment is None else environment, threads)
    message = f"{url.partition('?')[0]} names no store: use file:///path, s3://bucket or memory:"
    raise StoreAddressInvalid(message)


def _open_objects(parts: SplitResult, environment: Mapping[str, str], threads: Threads | None) -> "BlobStore":
    # Imported here, since a machine with a POSIX store should not pay for the client's memory.
    from moorage.storage.leftovers import Leftovers  # noqa: PLC0415
    from moorage.storage.objects import Bucket, ObjectStore  # noqa: PLC0415

    asked = dict(parse_qsl(parts.query))
    options = _s3(asked, environment) if parts.scheme == "s3" else {}
    leftovers = None
    if "access_key_id" in options:
        endpoint = options.get("endpoint") or f"https://s3.{options['region']}.amazonaws.com"
        leftovers = Leftovers(
            endpoint,
            parts.netloc,
            options["region"],
            options["access_key_id"],
            options["secret_access_key"],
            options.get("session_token", ""),
        )
    bucket = Bucket(
        remote=_remote(parts, options, reading=False),
        reading=_remote(parts, options, reading=True),
        threads=threads or Threads(),
        redirect_for=REDIRECT_FOR if asked.get("redirect") == "1" else None,
        leftovers=leftovers,
    )
    return ObjectStore(bucket, prefix=parts.path.strip("/"))


def _s3(asked: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Gather what the client library wants to know, the address first."""
    names = {
        "endpoint": "AWS_ENDPOINT_URL",
        "region": "AWS_REGION",
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
    }
    found = {name: asked.get(name) or environment.get(variable) for name, variable in names.items()}
    options = {name: value for name, value in found.items() if value}
    options.setdefault("region", environment.get("AWS_DEFAULT_REGION", "us-east-1"))
    return options


def _remote(parts: SplitResult, options: dict[str, str], *, reading: bool) -> "Remote":
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 - a folder needs none of them

    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=3),
        # A download may take hours, as long as it moves; anything else is one short request.
        "timeout": timedelta(days=1) if reading else timedelta(seconds=60),
        "read_timeout": timedelta(seconds=10 if reading else 30),
        "allow_http": options.get("endpoint", "").startswith("http:"),
    }
    retry: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
    if parts.scheme == "gs":
        return GCSStore(parts.netloc, client_options=client, retry_config=retry)
    if parts.scheme == "az":
        return AzureStore(parts.netloc, client_options=client, retry_config=retry)
    # Bytes are hashed once here and once by whoever pulls them; under TLS a third time is waste.
    unsigned = not client["allow_http"]
    config = cast("S3Config", {**options, "unsigned_payload": unsigned})
    return S3Store(parts.netloc, config=config, client_options=client, retry_config=retry)
