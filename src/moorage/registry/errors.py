"""What a registry refuses by its own rules, in the spec's codes."""

from moorage.oci.errors import Denied, OCIError, Unsupported


class QuotaExceeded(Denied):
    """What would be stored passes a limit; pulls and deletes go on."""

    summary = "a storage limit is reached"


class TagImmutable(Denied):
    """A rule of the project keeps this tag as it is."""

    summary = "the tag is immutable"


class StillReferenced(Unsupported):
    """Something live names this content, so deleting it would break that."""

    summary = "the content is still in use"


class ProjectUnknown(OCIError):
    """There is no such project, and it may not be made by a push."""

    code, status, summary = "NAME_UNKNOWN", 404, "project unknown to registry"


class NameTaken(OCIError):
    """Something live has this name already."""

    code, status, summary = "NAME_INVALID", 409, "the name is taken"
