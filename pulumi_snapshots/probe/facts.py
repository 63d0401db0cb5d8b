"""The facts of the service that a run settles, each as one sentence that is true or not."""

from __future__ import annotations

PUBLISHED = {
    "envelope": 'A success is `{"status": "success", "response": …}`.',
    "refusal": 'A refusal is `{"status": "error", "code": …}`, also if it comes with a 202.',
    "no-retry-after": "No answer has a `Retry-After` header.",
    "json": "All answers of the API are JSON, none is a proxy's page.",
    "account": "`/users/me` has the user, the plan with its memory, and the databases.",
    "plan-name": "Plans are called `free`, or `hobby`, `standard`, `pro` or `enterprise` with a number.",
    "database-id": "Database ids have 32 hex digits.",
    "database": "A database has id, name, owner, cluster, ram, type, port and created_at.",
    "status": "A database's status has `running` as true or false.",
    "uptime": "A database's `uptime` is the Unix milliseconds of its last start.",
    "create-answer": "A create is answered with `url` and `key` once the snapshot is done.",
    "unpinned": "The URL of that answer names no version.",
    "url-days": "That URL expires after 30 days.",
    "cooldown-lasts": "A create 170 s after the first is refused with `KEEP_CALM`.",
    "cooldown-ends": "A create 186 s after the last accepted one is accepted.",
    "listed": "A finished snapshot is listed at once if the listing was not requested before.",
    "entry": "Entries have name, size, modified, key, version_id, url, runtime and origin.",
    "newest-first": "Listings have the newest snapshot first.",
    "name": "The name of an entry is the database's id, alone or with `_type` or `_type_origin`.",
    "origin": "A snapshot that was requested has the origin `manual`.",
    "version-id": "Version ids have 24 to 96 characters of the restore route's pattern.",
    "pinned": "The URL and the key of an entry name its version.",
    "account-entry": "An entry of the account's listing has its database in the URL's path.",
    "range": "The snapshot host serves a range of a GET with 206.",
    "head": "The snapshot host refuses a HEAD of a URL that was signed for GET.",
    "newest": "A URL without a version serves the newest snapshot.",
    "cache-30-min": "A page that lacks a new snapshot is renewed within 30 minutes.",
    "create-202": "A create that takes longer than about 90 s is answered with 202 `SNAPSHOT_PROCESSING`.",
    "listed-late": "Such a snapshot is done within about 2 minutes after the 202.",
    "restore-answer": "A restore is answered with 200, or with 202 `SNAPSHOT_RESTORE_PROCESSING`.",
    "restore-status": "`GET …/snapshots/restore` shows how the last restore stands.",
    "restore-states": "Its states are none, queued, running, success and error.",
    "restore-times": "Its `started_at` and `finished_at` are Unix milliseconds.",
    "budget": "Too many requests in a minute block the account.",
    "wrong-key": "A wrong key is refused with 401 `ACCESS_DENIED`.",
    "quota": "The plan's allowance of snapshots is (memory / 256 MB) x 2 in 24 hours.",
}
UNKNOWN = {
    "key-version": "The `key` of a create's answer names the version.",
    "modified-end": "`modified` is when the snapshot ended, not when it was requested.",
    "version-header": "The snapshot host sends `x-amz-version-id`.",
    "entity-tag": "The snapshot host sends a strong `ETag`.",
    "refusal-restarts": "A refused create starts the cooldown of 180 s again.",
    "own-cache-ends": "A new snapshot ends the caching of its database's listing.",
    "account-cache-ends": "A new snapshot ends the caching of the account's listing.",
    "restore-down": "A database is down while it is restored.",
    "restore-restarts": "A restore starts its database again, as `uptime` shows.",
    "restore-waits": "A restore is answered only when the data is there.",
}
"""Facts that no document states: either result is news."""
FACTS = PUBLISHED | UNKNOWN
NEVER = {
    "budget": "no run sends too many requests on purpose",
    "wrong-key": "no run sends a wrong key, since that may block the address",
    "quota": "no run uses up an allowance on purpose",
}
"""Facts that stay open in every run, and why."""
