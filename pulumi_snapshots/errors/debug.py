"""The debugging output that a user can ask for: requests, and the traceback of an error."""

import os
import sys
from contextlib import suppress

REQUESTS = "SQUARECLOUD_DEBUG"
"""The variable by which each request is traced, as in the service's own tools."""
TRACEBACK = "SQUARECLOUD_TRACEBACK"
"""The variable by which an error shows its traceback."""


def trace_request(request: str, outcome: object, seconds: float) -> None:
    """Write a line about a request to standard error, if the user asked for that.

    Args:
        request: Method and path. The query is left out, since it can hold a signature.
        outcome: The answer's status, or why there was no answer.
        seconds: How long the request took.
    """
    if _is_on(REQUESTS):
        with suppress(OSError, ValueError):  # a closed stream must not end the run
            print(  # noqa: T201  a user asked for it
                f"squarecloud: {request} {outcome} {seconds:.2f} s",
                file=sys.stderr,
                flush=True,
            )


def shows_traceback() -> bool:
    """Return whether the user asked for tracebacks."""
    return _is_on(TRACEBACK)


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "yes", "on"}
