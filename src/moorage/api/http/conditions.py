"""Conditional requests (RFC 9110, 13): whether the client has the bytes already, or a part of just these."""

import re

_TAGS = re.compile(rb'(?:W/)?("[^"]*")')


def is_there(if_none_match: bytes | None, tag: bytes) -> bool:
    """Say whether If-None-Match names what has this entity tag: one of a list, weak or strong, or anything."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == b"*" or tag in _TAGS.findall(if_none_match)


def is_part_of(if_range: bytes | None, tag: bytes) -> bool:
    """Say whether a range may be given: there is no If-Range, or it names what has this entity tag, strongly."""
    return if_range is None or if_range.strip() == tag
