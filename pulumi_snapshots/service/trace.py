"""A line about each request, for users who ask for one."""

import sys
from contextlib import suppress

from pulumi_snapshots.errors.debug import traces_requests


def trace_request(request: str, outcome: object, seconds: float) -> None:
    """Write a line about a request to standard error, if the user asked for that.

    Args:
        request: Method and path. The query is left out, since it can hold a signature.
        outcome: The answer's status, or why there was no answer.
        seconds: How long the request took.
    """
    if traces_requests():
        with suppress(OSError, ValueError):  # a closed stream must not end the run
            print(  # noqa: T201  a user asked for it
                f"squarecloud: {request} {outcome} {seconds:.2f} s",
                file=sys.stderr,
                flush=True,
            )
