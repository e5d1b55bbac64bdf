"""One class a code of the distribution spec (spec.md#error-codes), named after it, with its status."""

from moorage.errors import Problem


class OCIError(Problem):
    """An error that the distribution spec names."""


class BlobUnknown(OCIError):
    """There is no such blob, or it is not in this repository."""

    code, status, summary = "BLOB_UNKNOWN", 404, "blob unknown to registry"


class BlobUploadInvalid(OCIError):
    """The upload cannot go on as asked."""

    code, status, summary = "BLOB_UPLOAD_INVALID", 400, "blob upload invalid"


class BlobUploadUnknown(OCIError):
    """There is no such upload: it was never begun, is finished, was cancelled, or has expired."""

    code, status, summary = "BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry"


class DigestInvalid(OCIError):
    """Not a digest, or the content does not match it."""

    code, status, summary = "DIGEST_INVALID", 400, "provided digest did not match uploaded content"


class ManifestBlobUnknown(OCIError):
    """A manifest names a blob that its repository does not have."""

    code, status, summary = "MANIFEST_BLOB_UNKNOWN", 400, "manifest references a blob unknown to the repository"


class ManifestInvalid(OCIError):
    """The manifest breaks a rule of its format."""

    code, status, summary = "MANIFEST_INVALID", 400, "manifest invalid"


class ManifestUnknown(OCIError):
    """There is no such manifest or tag in this repository."""

    code, status, summary = "MANIFEST_UNKNOWN", 404, "manifest unknown to registry"


class ManifestTooLarge(OCIError):
    """The manifest is larger than the registry takes."""

    code, status, summary = "SIZE_INVALID", 413, "manifest too large"


class NameInvalid(OCIError):
    """The repository's name breaks a rule."""

    code, status, summary = "NAME_INVALID", 400, "invalid repository name"


class NameUnknown(OCIError):
    """There is no such repository."""

    code, status, summary = "NAME_UNKNOWN", 404, "repository name not known to registry"


class PaginationNumberInvalid(OCIError):
    """The page size is not a number in range."""

    code, status, summary = "PAGINATION_NUMBER_INVALID", 400, "invalid number of results requested"


class SizeInvalid(OCIError):
    """The content's length does not match what was announced, or passes a limit."""

    code, status, summary = "SIZE_INVALID", 400, "provided length did not match content length"


class TagInvalid(OCIError):
    """The tag breaks a rule."""

    code, status, summary = "TAG_INVALID", 400, "manifest tag invalid"


class TagsTooMany(OCIError):
    """One push names more tags than the registry takes at once."""

    code, status, summary = "TAG_INVALID", 414, "too many tags in one push"


class RangeInvalid(OCIError):
    """The range is out of order or out of bounds."""

    code, status, summary = "RANGE_INVALID", 416, "invalid content range"


class Unauthorized(OCIError):
    """Who asks is not known, or the token does not say enough."""

    code, status, summary = "UNAUTHORIZED", 401, "authentication required"


class Denied(OCIError):
    """Who asks is known and may not."""

    code, status, summary = "DENIED", 403, "requested access to the resource is denied"


class Unsupported(OCIError):
    """The registry does not do this."""

    code, status, summary = "UNSUPPORTED", 405, "the operation is unsupported"


class TooManyRequests(OCIError):
    """A limit on requests is reached; try again after a while."""

    code, status, summary = "TOOMANYREQUESTS", 429, "too many requests"
