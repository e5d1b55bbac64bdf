"""Log lines: one line each on the standard error, with the request's id, and without secrets.

A line is `key=value` text or one JSON object. Whatever a client sent is quoted, so it can neither
start a line of its own nor move a terminal's cursor.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")

_PLAIN = re.compile(r"[\w./:@+,-]+", re.ASCII)
_SECRETS = re.compile(
    r"(?P<keep>(?:\b(?:Bearer|Basic)\s+)"
    r"|(?:\w+://[^\s:/@]*:)(?=[^\s/@]+@)"
    r"|(?:\b(?:password|secret|token|authorization|master_key)\b['\"]?\s*[=:]\s*['\"]?(?:Bearer\s+|Basic\s+)?))"
    r"[^\s'\"&@,]+",
    re.IGNORECASE,
)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Lines(logging.Formatter):
    """Writes a record as one line."""

    def __init__(self, *, as_json: bool) -> None:
        """Write lines of JSON, or of text."""
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Give the record's line: time, level, part, message, request id, extras, traceback."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "part": record.name,
            "message": record.getMessage(),
        }
        if asked := request_id.get():
            fields["request_id"] = asked
        fields |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info and record.exc_info[0] is not None:
            fields["traceback"] = self.formatException(record.exc_info)
        return self._write({name: _clean(value) for name, value in fields.items()})

    def _write(self, fields: dict[str, object]) -> str:
        if self._as_json:
            return json.dumps(fields, default=str)
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())


def start(level: str, form: str) -> None:
    """Log to the standard error from now on: lines of *level* and over, in *form* text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(as_json=form == "json"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their news (a process started, each outgoing request) is ours or nobody's.
    for noisy in ("uvicorn", "uvicorn.error", "httpx", "httpcore", "asyncio", "alembic", "dbos"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def _clean(value: object) -> object:
    return _SECRETS.sub(r"\g<keep>***", value) if isinstance(value, str) else value


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
