"""Texts for people, in their language: gettext's, read straight from the catalogues that translators write.

A text stands in English where it is used. ``locale/<language>.po`` has the others; what it lacks stays English.
"""

from __future__ import annotations

import functools
import gettext
import re
from pathlib import Path
from typing import Final

from typing_extensions import override

FOLDER: Final = Path(__file__).with_name("locale")
ENGLISH: Final = "en"

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t"}


class Catalogue(gettext.NullTranslations):
    """The texts of one language."""

    def __init__(self, texts: dict[str, str]) -> None:
        """Translate with *texts*."""
        super().__init__()
        self.texts = texts

    @override
    def gettext(self, message: str) -> str:
        """Translate a text, or give it as it is."""
        return self.texts.get(message) or message


def languages() -> tuple[str, ...]:
    """List the languages that there are texts in."""
    return (ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.po")))


@functools.cache
def catalogue(language: str) -> Catalogue:
    """Give a language's texts; English has none of its own."""
    if language == ENGLISH:
        return Catalogue({})
    return Catalogue(read((FOLDER / f"{language}.po").read_text(encoding="utf-8")))


def read(text: str) -> dict[str, str]:
    """Read a catalogue as translators' tools write it: of each entry the text and its translation."""
    found: dict[str, str] = {}
    parts = {"msgid": "", "msgstr": ""}
    part = ""
    for line in (*text.splitlines(), 'msgid ""'):
        word = line.partition(" ")[0]
        if word == "msgid":
            found[parts["msgid"]] = parts["msgstr"]
            parts = {"msgid": "", "msgstr": ""}
        if word in parts:
            part = word
        if part and not line.startswith("#"):
            parts[part] += "".join(_unescaped(piece) for piece in _STRING.findall(line))
    found.pop("", None)
    return found


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)
