"""Wrong passwords of those who sign in at the console, counted in the platform's database."""

from __future__ import annotations

from moorage.db import Database
from moorage.db.platform_sign_in import password_guess
from moorage.identity.guesses import Guesses, statements

_ADD, _FIND, _TURN, _DROP_OLD, _DROP_MOST = _ALL = statements(password_guess)


def of_console(platform: Database) -> Guesses:
    """Count them there, with all other processes."""
    return Guesses(platform, "console", _ALL)
