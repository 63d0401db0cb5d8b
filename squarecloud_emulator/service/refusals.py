"""How the service refuses a request.

The exception, and its codes with their statuses and messages.
"""

# Statuses and messages as documented. If only the code is public, the status of the most similar
# documented code. Of the
# messages only the end is public, from "Please wait" and from the number on.
_CODES: dict[str, tuple[int, str | None]] = {
    "ACCESS_DENIED": (401, None),
    "CONTAINER_ALREADY_STARTED": (409, None),
    "CONTAINER_ALREADY_STOPPED": (409, None),
    "DAILY_SNAPSHOTS_LIMIT_REACHED": (
        429,
        "You are being rate limited for daily snapshots. {limit}r/24h",
    ),
    "DATABASE_CREATION_FAILED": (500, None),
    "DATABASE_NOT_FOUND": (404, None),
    "DATABASE_NOT_RUNNING": (400, None),
    "INSUFFICIENT_MEMORY": (400, None),
    "INVALID_DATABASE_TYPE": (400, None),
    "INVALID_DATABASE_VERSION": (400, None),
    "INVALID_ID": (400, None),
    "INVALID_JSON_BODY": (400, None),
    "INVALID_MEMORY": (400, None),
    "INVALID_NAME": (400, None),
    "INVALID_RESET_TYPE": (400, None),
    "INVALID_SCOPE": (400, None),
    "INVALID_SNAPSHOT_ID": (400, None),
    "INVALID_VERSION_ID": (400, None),
    "KEEP_CALM": (
        429,
        (
            "You already requested a snapshot recently. Please wait a minute before trying again. "
            "1r/{seconds}s"
        ),
    ),
    "METHOD_NOT_ALLOWED": (405, None),
    "MISSING_PARAMETERS": (400, None),
    "MISSING_SCOPE": (403, None),
    "NO_UPDATE_DATA": (400, None),
    "RATE_LIMITED": (429, None),
    "RESOURCE_NOT_ALLOWED": (403, None),
    "RESTORE_IN_PROGRESS": (
        409,
        "A restore operation is currently in progress for this database.",
    ),
    "ROUTE_NOT_FOUND": (404, None),
    "SNAPSHOT_DATABASE_MISMATCH": (400, None),
    "SNAPSHOT_FAILED": (404, None),
    "SNAPSHOT_IN_PROGRESS": (409, None),
    "SNAPSHOT_NOT_FOUND": (404, None),
    "SNAPSHOT_RESTORE_FAILED": (404, None),
    "UPGRADE_REQUIRED": (402, None),
}


class RefusedError(Exception):
    """The service refuses a request with an error envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class DroppedConnectionError(Exception):
    """The server is to close the connection without the rest of an answer."""


def refusal(
    code: str,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    **words: object,
) -> RefusedError:
    """The refusal with this code; `words` fill in its message."""
    usual, message = _CODES[code]
    text = None if message is None else message.format(**words)
    return RefusedError(
        usual if status is None else status,
        code,
        text,
        retry_after=retry_after,
    )
