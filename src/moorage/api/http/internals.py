"""Whether the installed uvicorn is built as our protocol needs it to be.

Our protocol stands on parts of uvicorn that it does not promise to keep. They are compared here
with what they were when it was written, so that another release costs speed and not requests.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from types import FunctionType, ModuleType

LOG = logging.getLogger(__name__)

# Each callable that is called or replaced, and its parameters.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "HttpToolsProtocol.__init__": (
        "self",
        "config",
        "server_state",
        "app_state",
        "_loop",
    ),
    "HttpToolsProtocol.connection_made": ("self", "transport"),
    "HttpToolsProtocol.connection_lost": ("self", "exc"),
    "HttpToolsProtocol.data_received": ("self", "data"),
    "HttpToolsProtocol.on_message_begin": ("self",),
    "HttpToolsProtocol.on_url": ("self", "url"),
    "HttpToolsProtocol.on_header": ("self", "name", "value"),
    "HttpToolsProtocol.on_headers_complete": ("self",),
    "HttpToolsProtocol.on_body": ("self", "body"),
    "HttpToolsProtocol.on_message_complete": ("self",),
    "HttpToolsProtocol.shutdown": ("self",),
    "RequestResponseCycle.__init__": (
        "self",
        "scope",
        "transport",
        "flow",
        "logger",
        "access_logger",
        "access_log",
        "default_headers",
        "message_event",
        "expect_100_continue",
        "keep_alive",
        "on_response",
    ),
    "RequestResponseCycle.send": ("self", "message"),
    "RequestResponseCycle.receive": ("self",),
    "FlowControl.drain": ("self",),
    "FlowControl.pause_reading": ("self",),
    "FlowControl.resume_reading": ("self",),
}
# What those functions call a thing: attributes that we read or write ourselves.
NAMES: Mapping[str, frozenset[str]] = {
    "HttpToolsProtocol.__init__": frozenset(
        {
            "app",
            "app_state",
            "cycle",
            "flow",
            "loop",
            "parser",
            "pipeline",
            "server_state",
            "tasks",
        }
    ),
    "HttpToolsProtocol.on_message_begin": frozenset({"headers", "scope", "url"}),
    "HttpToolsProtocol.connection_made": frozenset({"client", "scheme", "server", "transport"}),
    "RequestResponseCycle.__init__": frozenset(
        {"body", "disconnected", "more_body", "response_complete", "response_started"}
        | {"waiting_for_100_continue", "expected_content_length", "chunked_encoding"}
    ),
}


def misfits(implementation: ModuleType | object) -> list[str]:
    """List what of uvicorn's HTTP implementation is not as it was; nothing if all is well."""
    found = []
    for path, parameters in SHAPES.items():
        function = _at(implementation, path)
        if not isinstance(function, FunctionType):
            found.append(f"{path} is gone")
        elif tuple(inspect.signature(function).parameters) != parameters:
            found.append(f"{path} takes other arguments")
        elif not NAMES.get(path, frozenset()) <= set(function.__code__.co_names):
            found.append(f"{path} sets other attributes")
    if not isinstance(getattr(implementation, "STATUS_LINE", None), dict):
        found.append("STATUS_LINE is gone")
    return found


def fit() -> bool:
    """Tell whether our protocol can stand on the uvicorn installed; warn, and say why, if not."""
    try:
        from uvicorn.protocols.http import httptools_impl  # noqa: PLC0415  # it may be gone
    except ImportError as error:
        found = [str(error)]
    else:
        found = misfits(httptools_impl)
    if found:
        LOG.warning(
            "this release of uvicorn is not one Moorage knows: transfers are slower and fewer "
            "limits are kept until a known one is installed (%s)",
            "; ".join(found),
        )
    return not found


def _at(implementation: object, path: str) -> object | None:
    found: object | None = implementation
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
