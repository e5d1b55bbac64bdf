"""Multipart uploads that a killed process left: nobody sees them, and the bill counts them.

The client library can neither list nor abort them, so these two requests of S3 are signed here
(Signature Version 4, ``docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html``).
"""

import hashlib
import hmac
import http.client
import itertools
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

from moorage.errors import Unavailable

TIMEOUT = 15.0
OK = range(200, 300)
GONE = 404
_NO_VERSIONS = frozenset({400, 404, 405, 501})
"""What stores answer that have no versions, when they are asked for them."""
_PAGE = 1000
EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Leftovers:
    """One bucket, and the right to clean it."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)

    def abort(self, prefix: str, older_than_seconds: int) -> int:
        """Abort those below *prefix* that were begun so long ago; give how many."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        old = [(k, u) for k, u, begun in self._uploads(prefix) if begun <= before]
        for key, upload in old:
            self._ask("DELETE", f"/{self.bucket}/{key}", {"uploadId": upload})
        return len(old)

    def erase_versions(self, prefix: str, most: int) -> int:
        """Destroy up to *most* of the versions and marks that a bucket keeps of what was deleted; give how many."""
        found = self._versions(prefix, most)
        for key, version in found:
            self._ask("DELETE", f"/{self.bucket}/{key}", {"versionId": version})
        return len(found)

    def remains(self, prefix: str, most: int) -> list[str]:
        """Name what a list of objects does not show: uploads in parts, and old versions."""
        half_sent = [key for key, _, _ in itertools.islice(self._uploads(prefix), most)]
        return half_sent or [key for key, _ in self._versions(prefix, most)]

    def _versions(self, prefix: str, most: int) -> list[tuple[str, str]]:
        asked = {"versions": "", "prefix": prefix, "max-keys": str(min(most, _PAGE))}
        answer = self._ask("GET", f"/{self.bucket}", asked, knows_not=_NO_VERSIONS)
        if not answer:
            return []
        page = ET.fromstring(answer)  # noqa: S314 - the operator's own store answers, and expat bounds entities
        found = [*page.iterfind("{*}Version"), *page.iterfind("{*}DeleteMarker")]
        return [(one.findtext("{*}Key", ""), one.findtext("{*}VersionId", "")) for one in found]

    def _uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        asked = {"uploads": "", "prefix": prefix, "max-uploads": "1000"}
        while True:
            page = ET.fromstring(self._ask("GET", f"/{self.bucket}", asked))  # noqa: S314 - the operator's own store answers, and expat bounds entities
            for upload in page.iterfind("{*}Upload"):
                begun = datetime.fromisoformat(upload.findtext("{*}Initiated", ""))
                yield upload.findtext("{*}Key", ""), upload.findtext("{*}UploadId", ""), begun
            if page.findtext("{*}IsTruncated") != "true":
                return
            asked["key-marker"] = page.findtext("{*}NextKeyMarker", "")
            asked["upload-id-marker"] = page.findtext("{*}NextUploadIdMarker", "")

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], *, knows_not: Container[int] = ()
    ) -> bytes:
        parts = urlsplit(self.endpoint)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=TIMEOUT)
        text = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        target = parts.path.rstrip("/") + quote(path, safe="/-_.~")
        headers = self._sign(method, parts.netloc, target, text)
        try:
            connection.request(method, f"{target}?{text}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            raise Unavailable(retry_after=5) from problem
        finally:
            connection.close()
        if answer.status in knows_not:
            return b""
        if answer.status not in OK and answer.status != GONE:
            message = f"the store answered {answer.status} to {method} of multipart uploads"
            raise Unavailable(message, retry_after=5)
        return body

    def _sign(self, method: str, host: str, target: str, query: str) -> dict[str, str]:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": host, "x-amz-content-sha256": EMPTY, "x-amz-date": now}
        if self.session_token:
            headers["x-amz-security-token"] = self.session_token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"{method}\n{target}\n{query}\n{lines}\n{names}\n{EMPTY}"
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{self.secret_key}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers
