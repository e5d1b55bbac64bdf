"""Texts that people write: names and descriptions, which are shown on pages and in terminals."""

from __future__ import annotations

from moorage.api.cloud.bodies import invalid


def checked(text: str, field: str, *, least: int, most: int) -> str:
    """Give a text as it is, or raise BodyInvalid, which names the *field*."""
    if not least <= len(text) <= most or not text.isprintable() or text != text.strip():
        some = f"{least} to {most}" if least else f"at most {most}"
        raise invalid(field, f"must have {some} visible characters, and no space at either end")
    return text
