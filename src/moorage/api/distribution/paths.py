"""Paths under /v2/, read from the right: a name may itself have components like ``blobs`` or ``tags``."""

from typing import NamedTuple

from moorage.oci.names import RepositoryName


class Place(NamedTuple):
    """What a path asks for: a kind of endpoint, of which repository, and the rest of the path."""

    kind: str
    name: RepositoryName | None = None
    rest: str = ""


BASE = Place("base")
CATALOG = Place("catalog")
DISCOVER = Place("discover")


def read(path: str) -> Place | None:
    """Read a path, or give None where the spec has no endpoint; raises NameInvalid."""
    if path in ("/v2/", "/v2"):
        return BASE
    if path == "/v2/_catalog":
        return CATALOG
    head, slash, last = path[4:].rpartition("/")
    if not slash or "\0" in path:
        # PostgreSQL's texts hold no such character: it can be no upload's id.
        return None
    home, slash, kind = head.rpartition("/")
    if slash and kind in ("manifests", "blobs", "referrers") and (last != "uploads" or kind != "blobs"):
        return Place(kind, RepositoryName.parse(home), last) if last else None
    if slash and (kind, last) == ("tags", "list"):
        return Place("tags", RepositoryName.parse(home))
    return _upload_or_extension(path[4:], home, kind, last)


def _upload_or_extension(path: str, home: str, kind: str, last: str) -> Place | None:
    if kind == "uploads" and home.endswith("/blobs"):
        name = RepositoryName.parse(home.removesuffix("/blobs"))
        return Place("upload", name, last) if last else Place("uploads", name)
    if (kind, last) == ("blobs", "uploads"):
        return Place("uploads", RepositoryName.parse(home))
    if path == "_oci/ext/discover":
        return DISCOVER
    if path.endswith("/_oci/ext/discover"):
        return Place("discover", RepositoryName.parse(path.removesuffix("/_oci/ext/discover")))
    return None
