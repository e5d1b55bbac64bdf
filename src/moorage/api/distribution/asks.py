"""One request to the distribution API: what it says, and how it is answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from moorage import logs
from moorage.api.distribution.paths import Place
from moorage.api.http.bodies import Body
from moorage.api.http.responses import Header, send_bytes, send_json
from moorage.identity.access import Identified, Verdict
from moorage.identity.callers import Caller
from moorage.identity.passwords import lane_of
from moorage.identity.roles import OciAction
from moorage.oci.digests import Digest
from moorage.oci.errors import DigestInvalid, NameInvalid, OCIError, PaginationNumberInvalid, Unauthorized
from moorage.oci.names import RepositoryName
from moorage.registry.events import Origin, Seen
from moorage.registry.opened import Registry

CONFINED = "moorage.confined"
"""In the scope of a request to a registry whose clients are kept to blocks of addresses: a signed URL would pass over them."""
API_VERSION: Header = (b"docker-distribution-api-version", b"registry/2.0")
NOT_SNIFFED: Header = (b"x-content-type-options", b"nosniff")
# What was pushed may be a page: a browser that is led here neither shows it nor runs anything in it.
NO_PAGE: tuple[Header, ...] = (
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"content-disposition", b"attachment"),
)
MOST_QUERY = 16 * 1024
MOST_FIELDS = 1100
MOST_DIGITS = 18


class QueryInvalid(OCIError):
    """The query cannot be read, or holds what no name, tag or type can."""

    summary = "the query cannot be read"


class QueryTooLong(OCIError):
    """The query is longer than any that a client needs."""

    status, summary = 414, "the query is too long"


@dataclass(frozen=True, slots=True)
class Pull:
    """What is counted each time that somebody pulls a manifest."""

    registry: Registry
    manifest: int
    seen: Seen

    def count(self, request_id: str) -> None:
        """Count one."""
        self.registry.pulls.count(self.manifest)
        self.registry.gathered.note(self.seen, request_id)


@dataclass(slots=True)
class Ask:
    """A request, who makes it, and of which registry."""

    registry: Registry
    place: Place
    who: Identified
    headers: dict[bytes, bytes]
    scope: Scope
    receive: Receive
    send: Send
    pulled: Pull | None = None
    """The pull that the answer was, if it was one of a manifest."""
    current: RepositoryName | None = None
    """What the repository is called now, where the path has an old name of it."""
    document: bytes | None = None
    """A body that was read already, when what it is for is tried once more."""
    _query: list[tuple[str, str]] | None = field(default=None)

    @property
    def name(self) -> RepositoryName:
        """The repository that is asked about, as it is called now."""
        return self.current or self.asked

    @property
    def asked(self) -> RepositoryName:
        """The repository as the path names it, which is how it is answered: the client's token speaks of that name."""
        if self.place.name is None:
            raise NameInvalid
        return self.place.name

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.who.caller

    @property
    def subject(self) -> str:
        """The caller's lasting name, which owns an upload."""
        return self.caller.subject or "anonymous"

    @property
    def digest(self) -> Digest:
        """The digest that the path ends in, or DigestInvalid."""
        return Digest.parse(self.place.rest)

    def header(self, name: bytes) -> str | None:
        """Give a header, if there is one."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self, name: str) -> str | None:
        """Give a query parameter's first value, if there is one."""
        return next((value for key, value in self._parameters() if key == name), None)

    def queries(self, name: str) -> list[str]:
        """Give all values of a query parameter."""
        return [value for key, value in self._parameters() if key == name]

    def _parameters(self) -> list[tuple[str, str]]:
        if self._query is None:
            self._query = read_query(self.scope)
        return self._query

    def page(self) -> tuple[int, str]:
        """Read how many entries are wanted, bounded, and the one they come after."""
        text, limits = self.query("n"), self.registry.limits
        last = self.query("last") or ""
        if text is None:
            return limits.page_size, last
        if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
            message = f"n={text[:40]!r} is not a number of entries; it is a whole number from 0 on"
            raise PaginationNumberInvalid(message, n=text[:40])
        return min(int(text), limits.page_size_most), last

    def needed_digest(self) -> Digest:
        """Give the query's digest, or raise DigestInvalid."""
        text = self.query("digest")
        if text is None:
            raise DigestInvalid("the query has no digest: finish an upload with ?digest=<digest>")
        return Digest.parse(text)

    def body(self) -> Body:
        """Give the request's body, to be read once."""
        return Body(self.scope, self.receive)

    def origin(self) -> Origin:
        """Say who makes a change, through which request."""
        client = self.scope.get("client")
        return Origin(
            actor=self.caller.name or "anonymous",
            party="customer",
            request_id=logs.request_id.get(),
            address=client[0] if client else "",
            agent=(self.header(b"user-agent") or "")[:256],
        )

    def note(self, kind: str, *, target: str, asked: str, rule: str = "") -> None:
        """Note a pull or (by a *rule*) a denial, as one event with others that are alike."""
        self.registry.gathered.note(self._seen(kind, rule, target=target, asked=asked), logs.request_id.get())

    def _seen(self, kind: str, rule: str, *, target: str, asked: str) -> Seen:
        client, name = self.scope.get("client"), self.current or self.place.name
        return Seen(
            kind,
            rule,
            self.who.caller.name or "anonymous",
            client[0] if client else "",
            self.headers.get(b"user-agent", b""),
            name.project if name else "",
            target,
            asked,
        )

    def count_pull(self, manifest: int, target: str) -> None:
        """Count a pull of a manifest, and keep how, for when the same is asked again."""
        seen = self._seen("manifest.pull", "", target=target, asked=self.place.rest)
        self.pulled = Pull(self.registry, manifest, seen)
        self.pulled.count(logs.request_id.get())

    async def may(
        self, name: RepositoryName, *actions: OciAction, asked: RepositoryName | None = None
    ) -> bool:
        """Say whether the caller may do this to another repository, too (*asked* for by an old name, perhaps).

        Raises Unauthorized if they might with another token: the challenge names both repositories.
        """
        verdict = await self.registry.access.verdict(self.who, name, *actions, asked=asked)
        if verdict is Verdict.INSUFFICIENT_SCOPE:
            message = f"the token does not say {' and '.join(actions)} for {asked or name}"
            raise Unauthorized(message, reason="insufficient_scope")
        return verdict is Verdict.ALLOWED

    async def go_on_elsewhere(self, *actions: OciAction) -> bool:
        """Say whether the path has an old name of a repository that the caller may do this to, and go on with that one.

        Whoever may not is told the same as of a name that nothing ever had.
        """
        if self.place.name is None:
            return False
        access = self.registry.access
        current = await access.old_names.repository(self.place.name)
        if current is None or current == self.current:
            return False
        verdict = await access.verdict(self.who, current, *actions, asked=self.place.name)
        if verdict is Verdict.INSUFFICIENT_SCOPE:
            message = f"the token does not say {' and '.join(actions)} for {self.place.name}"
            raise Unauthorized(message, reason="insufficient_scope")
        if verdict is not Verdict.ALLOWED:
            return False
        self.current = current
        return True

    async def reply(self, status: int, *headers: Header, body: bytes = b"") -> None:
        """Answer with a status, headers and few bytes."""
        await send_bytes(
            self.scope, self.send, body, status=status, headers=(API_VERSION, NOT_SNIFFED, *headers)
        )

    async def reply_json(self, content: object, *headers: Header) -> None:
        """Answer 200 with JSON."""
        await send_json(self.scope, self.send, content, headers=(API_VERSION, NOT_SNIFFED, *headers))

    async def reply_size(self, size: int, headers: Sequence[Header]) -> None:
        """Answer a HEAD: the headers of bytes that are not sent."""
        listed = [API_VERSION, NOT_SNIFFED, *headers, (b"content-length", b"%d" % size)]
        await self.send({"type": "http.response.start", "status": 200, "headers": listed})
        await self.send({"type": "http.response.body", "body": b""})


def identity(caller: Caller, scope: Scope) -> str:
    """Name whom a request counts against: who is signed in, and else the network of the client's address."""
    return caller.subject or lane_of(_address(scope), "nowhere")


def read_query(scope: Scope) -> list[tuple[str, str]]:
    """Read a request's query, or raise QueryTooLong or QueryInvalid."""
    raw = scope["query_string"]
    if len(raw) > MOST_QUERY:
        message = f"a query of {len(raw)} bytes; the most is {MOST_QUERY}"
        raise QueryTooLong(message)
    try:
        read = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as problem:
        raise QueryInvalid(f"the query cannot be read: {problem}") from problem
    if b"%00" in raw and any("\0" in value for _, value in read):
        # PostgreSQL's texts cannot hold it.
        raise QueryInvalid("the query holds a NUL character")
    return read


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def location(path: str) -> Header:
    """Point to another path of the same registry, whatever it is called on the way here."""
    return (b"location", path.encode())
