"""The distribution spec's errors (spec.md#error-codes), one class a code, named after it.

The codes after TooManyRequests are not the spec's, but clients know them from other registries.
"""

from moorage.errors import Problem


class OCIError(Problem):
    """Something that the distribution API refuses."""

    code, status = "UNSUPPORTED", 400
    summary = "the request is not one of the distribution API"


class BlobUnknown(OCIError):
    """There is no such blob, or it is not in this repository."""

    code, status, summary = "BLOB_UNKNOWN", 404, "blob unknown to registry"


class BlobUploadInvalid(OCIError):
    """The upload cannot go on as the request would have it."""

    code, status, summary = "BLOB_UPLOAD_INVALID", 400, "blob upload invalid"


class BlobUploadUnknown(OCIError):
    """There is no such upload: it ended, was cancelled, expired, or is another repository's."""

    code, status, summary = "BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry"


class DigestInvalid(OCIError):
    """The text is no digest, or the bytes do not have it."""

    code, status, summary = "DIGEST_INVALID", 400, "provided digest did not match content"


class ManifestBlobUnknown(OCIError):
    """The manifest names a blob that is not in its repository."""

    code, status = "MANIFEST_BLOB_UNKNOWN", 400
    summary = "manifest references a manifest or blob unknown to registry"


class ManifestInvalid(OCIError):
    """The document is not a manifest that can be kept and pulled safely."""

    code, status, summary = "MANIFEST_INVALID", 400, "manifest invalid"


class ManifestUnknown(OCIError):
    """There is no such manifest or tag in this repository."""

    code, status, summary = "MANIFEST_UNKNOWN", 404, "manifest unknown to registry"


class NameInvalid(OCIError):
    """The text is no repository name."""

    code, status, summary = "NAME_INVALID", 400, "invalid repository name"


class NameUnknown(OCIError):
    """There is no such repository."""

    code, status, summary = "NAME_UNKNOWN", 404, "repository name not known to registry"


class SizeInvalid(OCIError):
    """There are more or fewer bytes than were announced or allowed."""

    code, status, summary = "SIZE_INVALID", 400, "provided length did not match content length"


class ManifestTooLarge(OCIError):
    """The manifest is longer than this registry accepts."""

    code, status, summary = "SIZE_INVALID", 413, "manifest too large"


class Unauthorized(OCIError):
    """Nobody knows who asks: the credentials are missing, wrong or over."""

    code, status, summary = "UNAUTHORIZED", 401, "authentication required"


class Denied(OCIError):
    """Whoever asks may not do this."""

    code, status, summary = "DENIED", 403, "requested access to the resource is denied"


class Unsupported(OCIError):
    """The registry does not do this at all, or not to this."""

    code, status, summary = "UNSUPPORTED", 405, "the operation is unsupported"


class TooManyRequests(OCIError):
    """More requests come than the registry takes at once."""

    code, status, summary = "TOOMANYREQUESTS", 429, "too many requests"


class TagInvalid(OCIError):
    """The text is no tag."""

    code, status, summary = "TAG_INVALID", 400, "invalid tag"


class TagsTooMany(OCIError):
    """One push names more tags than one push may."""

    code, status, summary = "UNSUPPORTED", 414, "too many tags in one push"


class RangeInvalid(OCIError):
    """The bytes asked for are not there, or the bytes given do not come next."""

    code, status, summary = "RANGE_INVALID", 416, "invalid content range"

    def headers(self) -> list[tuple[str, str]]:
        """Add the size of a pulled blob, where it is known: RFC 9110 asks for it with a 416."""
        size = self.detail.get("size")
        known = [("content-range", f"bytes */{size}")] if isinstance(size, int) else []
        return [*super().headers(), *known]


class PaginationNumberInvalid(OCIError):
    """The page length asked for is no number of entries."""

    code, status, summary = "PAGINATION_NUMBER_INVALID", 400, "invalid number of results requested"
