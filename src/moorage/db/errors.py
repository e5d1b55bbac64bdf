"""What a database says to those who use it, beside the problems that callers are shown."""


class Broken(Exception):
    """A row broke a constraint of the schema: a bug, or a race that a caller may try again."""


class Failed(Exception):
    """The database refused a statement for what it is: a bug of ours."""


class Vanished(Exception):
    """The registry is marked deleted, or has no row: nothing is written for it any more."""
