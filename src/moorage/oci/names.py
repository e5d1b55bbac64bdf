"""Names of repositories, tags and references (spec.md#pulling-manifests)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from moorage.oci.digests import Digest
from moorage.oci.errors import NameInvalid, TagInvalid

Tag = NewType("Tag", str)

LIBRARY = "library"
LONGEST_NAME = 255
LONGEST_TAG = 128
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_PROJECT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """The whole name of a repository; its first component is its project's."""

    text: str
    project: str

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Read ``team/app``; ``app`` alone means ``library/app``. Raises NameInvalid, which tells the rule."""
        return _parse(text)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def _parse(text: str) -> RepositoryName:
    whole = text if "/" in text else f"{LIBRARY}/{text}"
    if len(whole) > LONGEST_NAME:
        message = f"repository name of {len(whole)} characters; the longest is {LONGEST_NAME}"
        raise NameInvalid(message, name=text[:LONGEST_NAME])
    if not _NAME.fullmatch(whole):
        message = f"not a repository name: {text!r}; components are lower-case letters and digits, joined by one of . _ __ or hyphens"
        raise NameInvalid(message, name=text, rule=_NAME.pattern)
    name = project(whole.partition("/")[0])
    return RepositoryName(whole, name)


def project(text: str) -> str:
    """Give the project's name back, or raise NameInvalid: its rule is stricter than a repository's."""
    if len(text) > LONGEST_NAME or not _PROJECT.fullmatch(text):
        message = f"not a project name: {text[:LONGEST_NAME]!r}; a project (the first component of a repository's name) is lower-case letters and digits, joined by a single . _ or -"
        raise NameInvalid(message, name=text[:LONGEST_NAME], rule=_PROJECT.pattern)
    return text


def tag(text: str) -> Tag:
    """Read a tag, or raise TagInvalid."""
    if not _TAG.fullmatch(text):
        message = f"not a tag: {text[:LONGEST_TAG + 1]!r}; a tag is a letter, digit or _ and then up to 127 of these and . -"
        raise TagInvalid(message, tag=text[: LONGEST_TAG + 1], rule=_TAG.pattern)
    return Tag(text)


def reference(text: str) -> Digest | Tag:
    """Read what a manifest is asked by: a digest has a colon, a tag has none."""
    return Digest.parse(text) if ":" in text else tag(text)
