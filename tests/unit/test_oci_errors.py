"""The wire's errors carry the spec's codes and the statuses that clients expect."""

import inspect

import pytest

from moorage.oci import errors
from moorage.oci.errors import OCIError

CODES = {
    "BlobUnknown": ("BLOB_UNKNOWN", 404),
    "BlobUploadInvalid": ("BLOB_UPLOAD_INVALID", 400),
    "BlobUploadUnknown": ("BLOB_UPLOAD_UNKNOWN", 404),
    "Denied": ("DENIED", 403),
    "DigestInvalid": ("DIGEST_INVALID", 400),
    "ManifestBlobUnknown": ("MANIFEST_BLOB_UNKNOWN", 400),
    "ManifestInvalid": ("MANIFEST_INVALID", 400),
    "ManifestTooLarge": ("SIZE_INVALID", 413),
    "ManifestUnknown": ("MANIFEST_UNKNOWN", 404),
    "NameInvalid": ("NAME_INVALID", 400),
    "NameUnknown": ("NAME_UNKNOWN", 404),
    "PaginationNumberInvalid": ("PAGINATION_NUMBER_INVALID", 400),
    "RangeInvalid": ("RANGE_INVALID", 416),
    "SizeInvalid": ("SIZE_INVALID", 400),
    "TagInvalid": ("TAG_INVALID", 400),
    "TagsTooMany": ("UNSUPPORTED", 414),
    "TooManyRequests": ("TOOMANYREQUESTS", 429),
    "Unauthorized": ("UNAUTHORIZED", 401),
    "Unsupported": ("UNSUPPORTED", 405),
}


def classes() -> dict[str, type[OCIError]]:
    """Find every class of the module."""
    return {
        name: found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, OCIError) and found is not OCIError
    }


def test_every_class_is_in_the_table_and_every_line_of_it_is_a_class():
    assert set(classes()) == set(CODES)


@pytest.mark.parametrize("name", sorted(CODES))
def test_a_class_has_its_code_and_status_and_says_something(name: str):
    found = classes()[name]

    assert (found.code, found.status) == CODES[name]
    assert str(found()) == found.summary != ""


def test_a_range_that_is_not_there_tells_the_size():
    refused = errors.RangeInvalid(size=10, retry_after=3)

    assert refused.headers() == [("retry-after", "3"), ("content-range", "bytes */10")]


def test_a_chunk_out_of_order_tells_no_size():
    assert errors.RangeInvalid("not next").headers() == []
