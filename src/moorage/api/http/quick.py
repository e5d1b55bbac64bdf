"""Requests that are answered where they were read, before anything waits for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from moorage.api.http.heads import Heads
from moorage.api.http.recalling import Asked, Piece

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Config
    from uvicorn.server import ServerState

    from moorage.api.http.at_once import Minding
    from moorage.api.http.cycle import Cycle
    from moorage.api.http.limits import Limits
    from moorage.api.http.recalling import Recollection

END_OF_HEAD = b"\r\n\r\n"


class QuickHeads(Heads):
    """The part of a connection that answers at once what it can: what was asked before, or waits for nothing."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None,
        *,
        limits: Limits,
        recollection: Recollection,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, limits)
        app = config.loaded_app
        self.at_once: Minding | None = app if hasattr(app, "at_once") else None
        self.recollection = recollection
        # Whose requests these are, to whom: what the same bytes mean depends on that.
        self.whence = ("", 0)
        # What is being read, if it begins with a head.
        self.piece = b""
        # Whether it may have a request that is answered at once.
        self.begun_here = False

    @override
    # Over TCP it is never less than a Transport, whatever asyncio's base class says; uvicorn has it so, too.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note between whom this connection is."""
        super().connection_made(transport)
        self.whence = (self.client[0] if self.client else "", (self.server and self.server[1]) or 0)

    def recall_piece(self, data: bytes) -> bool:
        """Answer what came again to the letter, without reading it."""
        if not data.endswith(END_OF_HEAD) or not self._is_free():
            return False
        whole = self.recollection.again(Piece.read(data, *self.whence), self.server_state.default_headers)
        if whole is None:
            return False
        self._write_whole(whole)
        return True

    def asked(self, version: str, method: bytes) -> Asked | None:
        """Give all that an answer made in place can hang on, or None if none may be: one a piece, so all have turns."""
        begun, self.begun_here = self.begun_here, False
        if (
            not begun
            or self.at_once is None
            or version != "1.1"
            or not self.parser.should_keep_alive()
            or not self._is_free()
        ):
            return None
        minded = self.at_once.minded
        headers = [header for header in self.headers if header[0] in minded]
        return Asked(method, self.url, tuple(headers), *self.whence)

    def recall(self, asked: Asked) -> bool:
        """Answer a request that was answered before, if the answer is still right."""
        whole = self.recollection.again(asked, self.server_state.default_headers)
        if whole is None:
            return False
        self._write_whole(whole)
        piece = self.piece
        if piece.find(END_OF_HEAD) == len(piece) - len(END_OF_HEAD):
            self.recollection.alias(Piece.read(piece, *self.whence), asked)
        return True

    def answer_at_once(self, asked: Asked) -> bool:
        """Answer a request in place if nothing has to be waited for."""
        if self.at_once is None:
            return False
        # Headers that are not minded cannot change the answer, since it is made without them.
        scope = {**cast("dict[str, Any]", self.scope), "headers": list(asked.headers)}
        whole = self.at_once.at_once(scope)
        if whole is None:
            return False
        self._write_whole(self.recollection.first(asked, whole, self.server_state.default_headers))
        return True

    def _write_whole(self, whole: bytes) -> None:
        self.transport.write(whole)
        self.server_state.total_requests += 1

    def _is_free(self) -> bool:
        return not (self.busy() or self.flow.write_paused or self.transport.is_closing())

    def busy(self) -> bool:
        """Tell whether a request is being answered."""
        latest = self.latest
        return latest is not None and not latest.response_complete

    def reads_body(self) -> bool:
        """Tell whether more is to come of a request's body."""
        latest = self.latest
        return latest is not None and latest.more_body

    @property
    def latest(self) -> Cycle | None:
        """The request that was read last, or is being read; uvicorn hides that there may be none."""
        return cast("Cycle | None", self.cycle)
