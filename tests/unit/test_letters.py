"""Letters in each language, levels of alerts, and mail that no text can turn into another."""

from __future__ import annotations

import ast
import re

import pytest

from moorage import texts
from moorage.cloud import activities, alerts, letters
from moorage.cloud.letters import StorageAlert
from moorage.outbound import mail
from moorage.outbound.mail import Mail, MailServer
from tests.house.source import modules

FIELD = re.compile(r"\{\w+\}")
ALERT = StorageAlert("team", "http://localhost:5001", 80, 85 << 30, 100 << 30)


def said() -> set[str]:
    """List every text that is translated where it is used, and those of the activities, which mails name."""
    return {one.text for one in activities.matrix().activities} | {
        node.args[0].value
        for _, tree in modules("src")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "_"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


@pytest.mark.parametrize("language", texts.languages())
def test_every_language_has_every_text_with_the_same_fields_and_no_other(language: str) -> None:
    known = texts.catalogue(language).texts

    if language != texts.ENGLISH:
        assert set(known) == said()
    assert all(sorted(FIELD.findall(text)) == sorted(FIELD.findall(known[text])) for text in known)


def test_a_letter_is_text_and_a_page_in_its_language() -> None:
    english, french = letters.storage_alert(ALERT, "en"), letters.storage_alert(ALERT, "fr")

    assert english.subject == "Registry team: 80 % of its storage is used"
    assert french.subject == "Registre team : 80 % de son stockage est utilisé"
    assert "85 GiB of the 100 GiB" in english.text
    assert '<html lang="fr">' in french.html
    assert "are refused now" in letters.storage_alert(StorageAlert("t", "", 100, 100, 100), "en").text


def test_no_name_ends_a_header_or_is_run_as_a_page() -> None:
    evil = StorageAlert("a\r\nBcc: thief@example.com\r\n\r\n<script>x</script>", "", 80, 85, 100)
    letter = letters.storage_alert(evil, "en")
    written = mail.message(
        Mail("id", "a@example.com", letter.subject, letter.text, letter.html, "en"), "m@example.com"
    )

    assert "\n" not in letter.subject
    assert "<script>" not in letter.html
    assert written["Bcc"] is None
    assert [part.get_content_type() for part in written.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "text", ["", "a", "a@b c", "a@b\r\nBcc: c@d", "a@b,c@d", "<a@b>", "a@b>", "é@example.com"]
)
def test_what_is_no_single_address_is_sent_nothing(text: str) -> None:
    assert not mail.is_address(text)


def test_a_mail_server_is_read_from_its_url_and_its_password_is_shown_to_nobody() -> None:
    read = MailServer.of("smtp+starttls://us%40er:p%2Fw@mail.example.com", "m@example.com")

    assert (read.port, read.user, read.password) == (587, "us@er", "p/w")
    assert "p/w" not in repr(read)
    for url in ("http://mail.example.com", "smtp://", "smtps:"):
        with pytest.raises(ValueError, match="a mail server is"):
            MailServer.of(url, "m@example.com")


def test_a_level_is_left_only_well_below_it() -> None:
    used = [70, 80, 79, 80, 89, 90, 86, 85, 84, 100, 96, 94, 74, 81]
    levels, before = [], 0
    for percent in used:
        before = alerts.level(percent, 100, before)
        levels.append(before)

    assert levels == [0, 80, 80, 80, 80, 90, 90, 90, 80, 100, 100, 90, 0, 80]
    assert alerts.level(10**18, -1, 0) == 0
