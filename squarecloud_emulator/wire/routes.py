"""The service's routes: how each answers a request that the gateway has admitted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from squarecloud_emulator.service.account import ACCOUNT
from squarecloud_emulator.service.refusals import RefusedError, refusal
from squarecloud_emulator.wire import databases
from squarecloud_emulator.wire.answers import (
    Answer,
    envelope_of_error,
    milliseconds,
    success,
    timestamp,
)
from squarecloud_emulator.wire.downloads import download
from squarecloud_emulator.wire.listing_pages import object_path, page_of, signed_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from squarecloud_emulator.service.resources import StoredSnapshot
    from squarecloud_emulator.wire.exchange import Exchange

_SNAPSHOT_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
# "24-96 base64url-like characters or a UUID"; dots are allowed too, since a public example of a
# version id has one.
_VERSION_ID = re.compile(r"[A-Za-z0-9+/=._-]{24,96}")
# without one those of applications, and there are none here
_SCOPES = {None, "applications", "databases"}


@dataclass(frozen=True)
class ApiRoute:
    """A route: its kind in journal and faults, the scope that the key needs, and its limit."""

    kind: str  # one of KINDS
    method: str
    path: str
    answer: Callable[[Exchange], Awaitable[Answer]]
    scope: str | None = None
    needs_key: bool = True
    # so many requests of a user in so many seconds
    limit: tuple[int, int] | None = None

    def compiled(self) -> Route:
        """The same route in Starlette's form, for matching."""
        return Route(self.path, endpoint=_unreached, methods=[self.method])


async def _unreached(
    *_: Any,
) -> Answer:  # pragma: no cover - Starlette only matches; the gateway calls `answer`
    raise NotImplementedError


async def create(exchange: Exchange) -> Answer:
    """Start a snapshot; answer once it is stored or the soft deadline has passed."""
    account = exchange.service.account
    settings = exchange.service.settings
    resource = exchange.resource()
    running = account.start_snapshot(resource, exchange.now)
    exchange.started(running.version_id, joined=running.started_at != exchange.now)
    deadline = exchange.now + timedelta(seconds=settings.soft_deadline_seconds)
    await exchange.hold_until(min(running.ready_at, deadline))
    await exchange.hold_for(
        account.snapshot_work.get(running.version_id), until=deadline
    )
    if (
        running.ready_at > deadline
        or account.snapshot_work.get(running.version_id) is not None
    ):
        return envelope_of_error(202, "SNAPSHOT_PROCESSING")
    stored = account.version(running.version_id)
    if stored is None:
        raise refusal("SNAPSHOT_FAILED")
    return success(_created(exchange, stored))


def _created(exchange: Exchange, stored: StoredSnapshot) -> dict[str, str]:
    settings = exchange.service.settings
    path = object_path(stored, settings.account_id)
    expires = exchange.now + timedelta(days=settings.url_valid_days)
    # The URL of a 200 has no version: it serves the newest snapshot. Its `key` may have one.
    unpinned = signed_query(path, expires)
    key = (
        signed_query(path, expires, stored.version_id)
        if settings.key_of_200_has_version
        else unpinned
    )
    return {"url": f"{exchange.service.snapshots_url}{path}?{unpinned}", "key": key}


async def listing(exchange: Exchange) -> Answer:
    """A database's snapshots."""
    resource = exchange.resource()
    return _cached_page(
        exchange,
        resource.id,
        "",
        lambda: exchange.service.account.snapshots(resource.id),
    )


async def account_listing(exchange: Exchange) -> Answer:
    """The whole account's snapshots, cached separately from each database's own listing."""
    service = exchange.service
    settings = exchange.service.settings
    if settings.plan == "free":
        raise refusal("UPGRADE_REQUIRED")
    wanted = exchange.request.query_params.get("scope")
    if wanted not in _SCOPES:
        raise refusal("INVALID_SCOPE")
    limit = settings.account_listing_misses_per_minute
    block = settings.account_listing_block_seconds

    def everything() -> list[StoredSnapshot]:
        service.account_listing_limit.count(exchange.now, limit, block)
        owners = exchange.usable() if wanted == "databases" else []
        return [
            stored for owner in owners for stored in service.account.snapshots(owner.id)
        ]

    service.account_listing_limit.check(exchange.now)
    return _cached_page(
        exchange, ACCOUNT, f"{wanted} {sorted(settings.resources or ())}", everything
    )


def _cached_page(
    exchange: Exchange,
    owner: str,
    variant: str,
    snapshots: Callable[[], Iterable[StoredSnapshot]],
) -> Answer:
    service = exchange.service
    now = exchange.now
    kept = service.account.pages.get((owner, variant))
    if kept is None or now - kept[1] >= timedelta(
        seconds=service.settings.cache_seconds
    ):
        kept = page_of(snapshots(), service.settings, service.snapshots_url, now), now
        service.account.pages[owner, variant] = kept
    return Answer(200, kept[0])


async def restore(exchange: Exchange) -> Answer:
    """Start a restore, which takes the database down for a while."""
    account = exchange.service.account
    settings = exchange.service.settings
    resource = exchange.resource()
    name, version_id = await _restore_parameters(exchange)
    started = account.start_restore(resource, name, version_id, exchange.now)
    exchange.started(version_id)
    if settings.restore_holds:
        deadline = exchange.now + timedelta(seconds=settings.soft_deadline_seconds)
        await exchange.hold_until(min(started.ends_at, deadline))
        await exchange.hold_for(account.restore_work.get(resource.id), until=deadline)
        if started.in_progress:
            return envelope_of_error(202, "SNAPSHOT_RESTORE_PROCESSING")
        if started.error is not None:
            # as SNAPSHOT_RESTORE_FAILED, the one whose status is public
            raise RefusedError(404, started.error)
    return success()


async def restore_status(exchange: Exchange) -> Answer:
    """How the last restore of a database stands."""
    route = exchange.service.settings.restore_status_route
    if route != "there":
        raise refusal("ROUTE_NOT_FOUND" if route == "404" else "METHOD_NOT_ALLOWED")
    restore = exchange.service.account.last_restore(exchange.resource().id)
    if restore is None:
        return success({"state": "none"})
    state = restore.state(exchange.now)
    return success(
        {
            "state": state,
            "step": restore.step(exchange.now),
            "code": None if restore.in_progress else restore.error,
            "started_at": None
            if state == "queued"
            else milliseconds(restore.started_at),
            "finished_at": milliseconds(restore.finished_at),
        }
    )


async def _restore_parameters(exchange: Exchange) -> tuple[str, str]:
    body = await exchange.body()
    name = body.get("snapshotId")
    version_id = body.get("versionId")
    if not name or not version_id:
        raise refusal("MISSING_PARAMETERS")
    if not isinstance(name, str) or not _SNAPSHOT_NAME.fullmatch(name):
        raise refusal("INVALID_SNAPSHOT_ID")
    if not isinstance(version_id, str) or not _VERSION_ID.fullmatch(version_id):
        raise refusal("INVALID_VERSION_ID")
    return name, version_id


async def me(exchange: Exchange) -> Answer:
    """The user, the plan, and what the account owns."""
    account = exchange.service.account
    settings = exchange.service.settings
    used = account.memory_used
    ends = settings.plan_ends_at
    return success(
        {
            "user": {
                "id": settings.account_id,
                "name": settings.user_name,
                "email": settings.user_email,
                "locale": "en-US",
                "plan": {
                    "name": settings.plan_name,
                    "memory": {
                        "limit": settings.plan_memory_mb,
                        "available": max(0, settings.plan_memory_mb - used),
                        "used": used,
                    },
                    "duration": ends and round(ends.timestamp() * 1000),
                },
                "created_at": "2024-01-01T00:00:00.000Z",
            },
            "applications": [],
            "databases": [
                {
                    "id": one.id,
                    "name": one.name,
                    "ram": one.ram,
                    "type": one.type,
                    "cluster": one.cluster,
                    "created_at": timestamp(one.created_at),
                }
                for one in exchange.usable()
            ],
        }
    )


async def service_status(_: Exchange) -> Answer:
    """What the service says of itself, without the envelope; a fault says otherwise."""
    return Answer(200, b'{"status":"online","message":"All systems operational"}')


async def _not_found(_: Exchange) -> Answer:
    raise refusal("ROUTE_NOT_FOUND")


async def _method_not_allowed(_: Exchange) -> Answer:
    raise refusal("METHOD_NOT_ALLOWED")


NO_ROUTE = ApiRoute("unknown", "", "", _not_found, needs_key=False)
OTHER_METHOD = ApiRoute("unknown", "", "", _method_not_allowed, needs_key=False)
ROUTES = (
    ApiRoute(
        "create", "POST", "/v2/databases/{id}/snapshots", create, "snapshots:write"
    ),
    ApiRoute("list", "GET", "/v2/databases/{id}/snapshots", listing, "snapshots:read"),
    ApiRoute(
        "restore",
        "POST",
        "/v2/databases/{id}/snapshots/restore",
        restore,
        "snapshots:write",
    ),
    ApiRoute(
        "restore status",
        "GET",
        "/v2/databases/{id}/snapshots/restore",
        restore_status,
        "snapshots:read",
    ),
    ApiRoute(
        "list account", "GET", "/v2/users/snapshots", account_listing, "snapshots:read"
    ),
    ApiRoute(
        "statuses",
        "GET",
        "/v2/databases/status",
        databases.all_statuses,
        "databases:read",
        limit=(15, 60),
    ),
    *(
        ApiRoute(
            kind,
            method,
            f"/v2/databases{path}",
            answer,
            f"databases:{scope}",
            limit=limit,
        )
        for kind, method, path, answer, scope, limit in (
            ("create database", "POST", "", databases.create, "write", (1, 3)),
            ("database", "GET", "/{id}", databases.database, "read", None),
            ("update database", "PATCH", "/{id}", databases.update, "write", (1, 5)),
            ("delete database", "DELETE", "/{id}", databases.delete, "write", (1, 3)),
            ("start", "POST", "/{id}/start", databases.start, "write", (1, 3)),
            ("stop", "POST", "/{id}/stop", databases.stop, "write", (1, 3)),
            ("status", "GET", "/{id}/status", databases.status, "read", None),
            ("metrics", "GET", "/{id}/metrics", databases.metrics, "read", (10, 5)),
            (
                "certificate",
                "GET",
                "/{id}/credentials/certificate",
                databases.certificate,
                "credentials",
                (1, 3),
            ),
            (
                "reset",
                "POST",
                "/{id}/credentials/reset",
                databases.reset,
                "credentials",
                (1, 3),
            ),
        )
    ),
    ApiRoute("me", "GET", "/v2/users/me", me, "account:read"),
    ApiRoute(
        "service status", "GET", "/v2/service/status", service_status, needs_key=False
    ),
    ApiRoute("download", "GET", "/files/{path:path}", download, needs_key=False),
    ApiRoute("download", "HEAD", "/files/{path:path}", download, needs_key=False),
)
