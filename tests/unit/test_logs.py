"""What a log line says, and what it never says."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from moorage import logs


def line(message: str, *arguments: object, as_json: bool = False, **extra: object) -> str:
    """Give the line that a warning makes."""
    record = logging.LogRecord("moorage.part", logging.WARNING, "file.py", 1, message, arguments, None)
    vars(record).update(extra)
    return logs.Lines(as_json=as_json).format(record)


def test_a_line_holds_its_time_level_part_message_and_extras():
    written = line("a %s went away", "part", away="store")

    assert written.split(" ", 1)[0].startswith("time=20")
    assert written.endswith('level=warning part=moorage.part message="a part went away" away=store')


def test_a_line_can_be_one_json_object():
    written = json.loads(line("gone", as_json=True, away="store"))

    assert (written["message"], written["away"]) == ("gone", "store")


def test_a_line_names_the_request_it_is_of():
    token = logs.request_id.set("abc-1")

    written = line("gone")

    logs.request_id.reset(token)
    assert "request_id=abc-1" in written


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("text", ["a\nlevel=error b", "\x1b[2J", "\u2028", "\r\n", "\x00"])
def test_what_a_client_sent_can_neither_end_a_line_nor_move_a_cursor(text: str, *, as_json: bool):
    written = line("no tag %s", text, as_json=as_json, tag=text)

    assert written.isprintable()
    assert len(written.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2.x-y",
        "Basic hunter2",
        "cannot reach postgresql://user:hunter2@db/moorage",
        "redis://:hunter2@cache",
        "password=hunter2&scope=a",
        "{'token': 'hunter2'}",
        'secret="hunter2"',
    ],
)
def test_a_secret_is_not_written_wherever_it_comes_from(text: str):
    assert "hunter2" not in line(text, extra=text)


def test_a_traceback_is_in_the_line_of_its_error():
    try:
        raise ZeroDivisionError("nothing to divide by")
    except ZeroDivisionError:
        record = logging.LogRecord("part", logging.ERROR, "file.py", 1, "broke", (), sys.exc_info())

    written = logs.Lines(as_json=False).format(record)

    assert len(written.splitlines()) == 1
    assert "ZeroDivisionError: nothing to divide by" in written
