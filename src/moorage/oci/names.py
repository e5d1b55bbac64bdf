"""Names: of repositories, their projects, and the tags in them (spec.md#pulling-manifests)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from moorage.oci.digests import Digest
from moorage.oci.errors import NameInvalid, TagInvalid

Tag = NewType("Tag", str)

LIBRARY = "library"
NAME_LIMIT = 255

COMPONENT_RULE = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
PROJECT_RULE = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
TAG_RULE = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_PROJECT = re.compile(PROJECT_RULE)
_NAME = re.compile(rf"{_PROJECT.pattern}(?:/{_COMPONENT.pattern})+")
_TAG = re.compile(TAG_RULE)
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """The whole name of a repository: its project, a slash and the rest."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Read ``project/name``, or ``name`` for ``library/name``, or raise NameInvalid."""
        return _parse(text)

    @property
    def project(self) -> str:
        """Give the first component, which is the project that the repository is in."""
        return self.text.partition("/")[0]

    @property
    def within_project(self) -> str:
        """Give the name without its project's, as patterns are matched with it."""
        return self.text.partition("/")[2]

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def _parse(text: str) -> RepositoryName:
    whole = text if "/" in text else f"{LIBRARY}/{text}"
    if len(whole) > NAME_LIMIT:
        raise _too_long(whole)
    if _NAME.fullmatch(whole) is None:
        raise _refusal(whole, text)
    return RepositoryName(whole)


def project(text: str) -> str:
    """Give a project's name back, or raise NameInvalid: its rule is stricter than a component's."""
    if len(text) > NAME_LIMIT:
        raise _too_long(text)
    if _PROJECT.fullmatch(text) is None:
        raise _project_refusal(text, text)
    return text


@lru_cache(maxsize=4096)
def tag(text: str) -> Tag:
    """Read a tag, or raise TagInvalid."""
    if _TAG.fullmatch(text) is None:
        shown = text[:_SHOWN]
        message = (
            f'"{shown}" is not a tag: a tag is 1 to 128 letters, digits, "_", "." and "-", '
            'and does not begin with "." or "-"'
        )
        raise TagInvalid(message, tag=shown, rule=TAG_RULE)
    return Tag(text)


def reference(text: str) -> Digest | Tag:
    """Read what names a manifest: a digest where there is a colon, which no tag can have."""
    return Digest.parse(text) if ":" in text else tag(text)


def _too_long(whole: str) -> NameInvalid:
    message = (
        f'"{whole[:_SHOWN]}…" is too long a name: it has {len(whole)} characters, '
        f"and {NAME_LIMIT} are allowed"
    )
    return NameInvalid(message, length=len(whole), limit=NAME_LIMIT)


def _refusal(whole: str, text: str) -> NameInvalid:
    shown = text[:_SHOWN]
    for component in whole.split("/"):
        if _COMPONENT.fullmatch(component) is None:
            message = (
                f'"{shown}" is not a repository name: "{component}" breaks the rule for each part '
                "between slashes, which is lower-case letters and digits, joined by "
                f'".", "_", "__" or dashes ({COMPONENT_RULE})'
            )
            return NameInvalid(message, name=shown, component=component, rule=COMPONENT_RULE)
    return _project_refusal(whole.partition("/")[0], shown)


def _project_refusal(name: str, shown: str) -> NameInvalid:
    message = (
        f'"{shown[:_SHOWN]}" is in no possible project: "{name}" breaks the rule for projects, '
        f'which is lower-case letters and digits, joined by a single ".", "_" or "-" '
        f"({PROJECT_RULE})"
    )
    return NameInvalid(message, name=shown, component=name, rule=PROJECT_RULE)
