"""What can be set, written for a terminal and for the reference pages."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from moorage.kinds import Setting

Groups = Sequence[tuple[str, Sequence[Setting]]]

WIDTH = 79
HEAD = """\
# Settings

<!-- Written by `moorage settings --markdown`; a test holds the two equal. -->

Every setting is an environment variable, read once at start. A bad value stops the start with a
line that names it. Sizes take KiB, MiB, GiB or TiB, and durations ms, s, m, h or d; without a unit
they are bytes and seconds.
"""


def plain(groups: Groups) -> str:
    """Write every setting for a terminal."""
    lines: list[str] = []
    for title, group in groups:
        lines += [title.upper(), ""]
        for setting in group:
            lines.append(f"  {setting.variable}={setting.default}")
            about = f"{setting.help} Allowed: {setting.kind.allowed}."
            lines += textwrap.wrap(about, WIDTH, initial_indent="      ", subsequent_indent="      ")
        lines.append("")
    return "\n".join(lines)


def markdown(groups: Groups) -> str:
    """Write docs/reference/settings.md."""
    lines = [HEAD]
    for title, group in groups:
        lines += [f"## {title}", "", "| Variable | Default | Allowed | What it does |", "|---|---|---|---|"]
        lines += [_row(setting) for setting in group]
        lines.append("")
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else "not set"
    note = " Secret: never shown or logged." if setting.secret else ""
    cells = (f"`{setting.variable}`", default, setting.kind.allowed, setting.help + note)
    return "| " + " | ".join(cells) + " |"
