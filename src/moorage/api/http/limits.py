"""What one connection may ask of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, how much and how many; times in seconds, sizes in bytes.

    A transfer, in either direction, must move `pace_bytes` in each window of `pace_seconds` in
    which the server waits for the other end; so one that stalls is ended after one window to two.
    """

    # One request's head: its first line and headers, from the first byte to the last.
    head_seconds: float = 30.0
    head_bytes: int = 32 * 1024
    head_fields: int = 100
    # How long a connection stays open between requests.
    idle_seconds: float = 75.0
    pace_seconds: float = 60.0
    pace_bytes: int = 4 * 1024
    # How long a client may go on sending what nobody will read, so that it gets to the answer.
    linger_seconds: float = 10.0
    # Requests that wait on one connection while an earlier one is answered.
    pipelined: int = 64
    # From this length on a body is read past the parser, into buffers of `piece_bytes`, of which
    # `pieces` are given out; those who come later get an eighth of one. Two fit a core's cache.
    large_body: int = 256 * 1024
    piece_bytes: int = 512 * 1024
    pieces: int = 128
    # An unread rest of a body up to this length is read and dropped; for more, the connection goes.
    dropped_bytes: int = 256 * 1024
