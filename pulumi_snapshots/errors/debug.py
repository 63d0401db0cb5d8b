"""The debugging output that a user can ask for: requests, and the traceback of an error."""

import os

REQUESTS = "SQUARECLOUD_DEBUG"
"""The variable by which each request is traced, as in the service's own tools."""
TRACEBACK = "SQUARECLOUD_TRACEBACK"
"""The variable by which an error shows its traceback."""


def traces_requests() -> bool:
    """Return whether the user asked for a line about each request."""
    return _is_on(REQUESTS)


def shows_traceback() -> bool:
    """Return whether the user asked for tracebacks."""
    return _is_on(TRACEBACK)


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "yes", "on"}
