"""Letters: what is written to people, as text and as a page, in a language that there is a catalogue of."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from moorage import texts

_PAGE = """\
<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; line-height: 1.5">
<h1 style="font-size: 1.2em">{title}</h1>
{paragraphs}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter, before it is addressed."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class StorageAlert:
    """What is told of a registry whose storage is nearly used up, or is."""

    registry: str
    url: str
    level: int
    used: int
    limit: int


def _facts(alert: StorageAlert) -> dict[str, object]:
    return {
        "name": alert.registry,
        "url": alert.url,
        "level": alert.level,
        "used": size(alert.used),
        "limit": size(alert.limit),
    }


def storage_alert(alert: StorageAlert, language: str) -> Letter:
    """Tell that a registry has reached a part of its plan's storage."""
    _ = texts.catalogue(language).gettext
    facts = _facts(alert)
    after = (
        _("Pushes that need more are refused now. Pulls and deletes go on.")
        if alert.used >= alert.limit
        else _("At 100 % pushes that need more are refused. Pulls and deletes go on.")
    )
    return _letter(
        language,
        _("Registry {name}: {level} % of its storage is used").format(**facts),
        [
            _("The registry {name} ({url}) stores {used} of the {limit} that its plan grants.").format(**facts),
            after,
            _("Delete what is no longer needed, or choose a larger plan: it is in force within seconds."),
        ],
    )  # fmt: skip


def trash_alert(alert: StorageAlert, language: str) -> Letter:
    """Tell that a registry's trash has reached a part of its plan's storage."""
    _ = texts.catalogue(language).gettext
    facts = _facts(alert)
    return _letter(
        language,
        _("Registry {name}: its trash is as large as {level} % of its storage").format(**facts),
        [
            _("The trash of the registry {name} ({url}) holds {used}; its plan grants {limit}.").format(**facts),
            _("Trash counts against no limit, and goes by itself when its days are over."),
            _("If so much is deleted by mistake, look at what deletes it while it can be brought back."),
        ],
    )  # fmt: skip


def new_browser(user: str, agent: str, address: str, language: str) -> Letter:
    """Tell that a user has signed in at a browser that is new to them."""
    _ = texts.catalogue(language).gettext
    facts = {"user": user, "agent": agent or "?", "address": address or "?"}
    return _letter(
        language,
        _("{user} has signed in at a new browser").format(**facts),
        [
            _(
                "{user} has just signed in at a browser that was not seen before: {agent}, from {address}."
            ).format(**facts),
            _("If that was not you, change your password: every session and key ends with it."),
        ],
    )


def guessed_at(user: str, count: int, language: str) -> Letter:
    """Tell that many wrong passwords came for a user."""
    _ = texts.catalogue(language).gettext
    facts = {"user": user, "count": count}
    return _letter(
        language,
        _("Somebody is guessing the password of {user}").format(**facts),
        [
            _(
                "{count} wrong passwords came for {user} within an hour. They are slowed down; you are not locked out."
            ).format(**facts),
            _("If your password is short or used elsewhere, change it, and set up a second factor."),
        ],
    )


def factor_removed(user: str, reason: str, language: str) -> Letter:
    """Tell that the provider's people ask a user for no codes any more."""
    _ = texts.catalogue(language).gettext
    facts = {"user": user, "reason": reason}
    return _letter(
        language,
        _("The second factor of {user} was removed").format(**facts),
        [
            _("The provider of this service has removed the second factor of {user}. The reason given: {reason}").format(**facts),
            _("If nobody of you asked for that, change the password of this user at once, and ask the provider."),
        ],
    )  # fmt: skip


def notified(project: str, lines: Sequence[str], count: int, language: str) -> Letter:
    """Tell what has happened in a cloud project: some *lines* of what is *count* in all."""
    _ = texts.catalogue(language).gettext
    facts = {"project": project, "count": count, "more": count - len(lines)}
    more = [_("{more} more: see the feed.").format(**facts)] if count > len(lines) else []
    return _letter(
        language,
        _("Cloud project {project}: notifications ({count})").format(**facts),
        [
            _("This has happened in the cloud project {project}:").format(**facts),
            *more,
            _("The feed has all of it: GET /1.0/cloud/project/{project}/notification").format(**facts),
            _("No such mails: PUT /1.0/cloud/project/{project}/notification/mail with enabled: false").format(**facts),
        ],
        lines,
    )  # fmt: skip


def size(count: int) -> str:
    """Write a number of bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - a unit's size.
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def _letter(language: str, subject: str, paragraphs: list[str], lines: Sequence[str] = ()) -> Letter:
    # A subject is a header: it has one line, whatever a name in it holds.
    subject = " ".join(subject.split())
    pages = [f"<p>{html.escape(one)}</p>" for one in paragraphs]
    plain = list(paragraphs)
    if lines:
        items = "".join(f"<li>{html.escape(one)}</li>\n" for one in lines)
        pages.insert(1, f"<ul>\n{items}</ul>")
        plain.insert(1, "\n".join(f"- {one}" for one in lines))
    shown = "\n".join(pages)
    page = _PAGE.format(language=language, title=html.escape(subject), paragraphs=shown)
    return Letter(subject, "\n\n".join(plain) + "\n", page)
