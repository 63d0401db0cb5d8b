"""The control API under `/_emulator/`: what a test or a demo in another process may see and change."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from squarecloud_emulator.control.controlled_service import NoSuchResourceError
from squarecloud_emulator.control.local_only import is_local
from squarecloud_emulator.data.damage import Damage
from squarecloud_emulator.data.store import StoreError, outcome
from squarecloud_emulator.service.faults import Fault
from squarecloud_emulator.service.request_journal import KINDS
from squarecloud_emulator.service.resources import Origin
from squarecloud_emulator.service.settings import TEST_API_KEY, EmulatorSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from squarecloud_emulator.control.controlled_service import ControlledService
    from squarecloud_emulator.service.resources import Database

PREFIX = "/_emulator"

_JSON_VALUE = TypeAdapter[Any](Any)
_FAULT = TypeAdapter(Fault)
_SETTINGS = TypeAdapter(EmulatorSettings)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt field must not look like a change


_Wanted = TypeVar("_Wanted", bound=_Body)


class _ClockChange(_Body):
    advance: float | None = None
    offset: float | None = None
    speed: float | None = None


class _NewDatabase(_Body):
    id: str | None = None
    name: str | None = None
    type: str = "postgres"
    ram: int = 512
    snapshot_seconds: float | None = None


class _DatabaseChange(_Body):
    snapshot_seconds: float | None = None
    next_snapshot_seconds: float | None = None
    next_snapshot_fails: bool | None = None
    next_restore_fails: bool | None = None
    next_snapshot_damage: Damage | None = None
    next_restore_error: str | None = None
    next_restore_does_nothing: bool | None = None
    running: bool | None = None


class _NewSnapshot(_Body):
    database_id: str
    origin: Origin | None = "manual"
    modified: str | None = None
    size: int | None = None
    version_id: str | None = None
    listed: bool = True
    damage: Damage | None = None


class _Sql(_Body):
    statements: list[str]


class _CacheDrop(_Body):
    database_id: str | None = None


class _Block(_Body):
    seconds: float | None = None


class _KeyChange(_Body):
    revoked: bool


class _Control:
    """The answers of the control API; each method is one route."""

    def __init__(self, service: ControlledService) -> None:
        self._service = service

    async def state(self, _: Request) -> Response:
        service = self._service
        service.settle()
        return _json(
            {
                "now": service.now(),
                "settings": _shown(service.settings),
                "requests": len(service.journal),
                "blocked_until": service.rate_limit.until(service.now()),
                "key_revoked": service.account.key_revoked,
                "quota": {
                    "used": service.account.quota.used(service.now()),
                    "of": service.account.quota.limit(service.settings.plan_memory_mb),
                },
                "public_key": TEST_API_KEY if service.settings.api_key == TEST_API_KEY else None,
                "databases": [self._resource(one) for one in service.databases.values()],
                "faults": service.faults.rules,
                "kinds": KINDS,
            }
        )

    def _resource(self, one: Database) -> dict[str, Any]:
        account = self._service.account
        return {
            **asdict(one),
            "up": account.is_up(one, self._service.now()),
            "restoring": account.restoring(one.id),
            "restore": account.last_restore(one.id),
            "running_snapshots": account.running(one.id),
            "snapshots": account.snapshots(one.id),
        }

    async def journal(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._service.journal.clear()
            return _done()
        after = int(request.query_params.get("after", "0"))
        return _json([entry for entry in self._service.journal if entry.number > after])

    async def clock(self, request: Request) -> Response:
        service = self._service
        if request.method == "POST":
            change = await _read(request, _ClockChange)
            if change.offset is not None:
                service.settings = replace(service.settings, clock_offset_seconds=change.offset)
            if change.speed is not None:
                service.settings = replace(service.settings, speed=change.speed)
            if change.advance is not None:
                service.advance(change.advance)
        settings = service.settings
        return _json({"now": service.now(), "offset": settings.clock_offset_seconds, "speed": settings.speed})

    async def faults(self, request: Request) -> Response:
        service = self._service
        if request.method == "POST":
            return _json(service.add_fault(_FAULT.validate_json(await request.body())), HTTPStatus.CREATED)
        if request.method == "DELETE":
            service.clear_faults()
            return _done()
        return _json(service.faults.rules)

    async def add_database(self, request: Request) -> Response:
        new = await _read(request, _NewDatabase)
        service = self._service
        one = service.new_database(**new.model_dump())
        await outcome(service.account.store.create(one.id, one.type))
        return _json(self._resource(service.take_in(one)), HTTPStatus.CREATED)

    async def database(self, request: Request) -> Response:
        service = self._service
        service.settle()
        one = service.existing(request.path_params["id"])
        if request.method == "DELETE":
            service.remove_database(one.id)
            return _done()
        if request.method == "PATCH":
            change = await _read(request, _DatabaseChange)
            # Not `model_dump`, which would take a damage apart.
            service.change_database(one.id, **{name: getattr(change, name) for name in change.model_fields_set})
        return _json(self._resource(one))

    async def sql(self, request: Request) -> Response:
        service = self._service
        wanted = await _read(request, _Sql)
        one = service.existing(request.path_params["id"])
        service.settle()
        if not service.account.is_up(one, service.now()):
            return _error(HTTPStatus.CONFLICT, "the database is down")
        return _json({"rows": await outcome(service.account.store.execute(one.id, wanted.statements))})

    async def add_snapshot(self, request: Request) -> Response:
        new = await _read(request, _NewSnapshot)
        modified = None if new.modified is None else _moment(new.modified)
        capture = self._service.capture(new.database_id, size=new.size, version_id=new.version_id, damage=new.damage)
        await outcome(capture.size)
        stored = self._service.add_captured(
            new.database_id, capture, origin=new.origin, modified=modified, listed=new.listed
        )
        return _json(stored, HTTPStatus.CREATED)

    async def remove_snapshot(self, request: Request) -> Response:
        self._service.remove_snapshot(request.path_params["version_id"])
        return _done()

    async def settings(self, request: Request) -> Response:
        service = self._service
        if request.method == "PATCH":
            changes = await _read_object(request)
            known = [one.name for one in fields(EmulatorSettings)]
            unknown = changes.keys() - set(known)
            if unknown:
                return _error(
                    HTTPStatus.BAD_REQUEST,
                    f"no such setting: {', '.join(sorted(unknown))}; the settings are {', '.join(sorted(known))}",
                )
            service.settings = _SETTINGS.validate_python({**asdict(service.settings), **changes})
        return _json(_shown(service.settings))

    async def drop_cache(self, request: Request) -> Response:
        wanted = await _read(request, _CacheDrop, if_empty=b"{}")
        self._service.drop_cache(wanted.database_id)
        return _done()

    async def block(self, request: Request) -> Response:
        wanted = await _read(request, _Block, if_empty=b"{}")
        self._service.block(wanted.seconds)
        return _done()

    async def key(self, request: Request) -> Response:
        change = await _read(request, _KeyChange)
        self._service.revoke_key(revoked=change.revoked)
        return _done()


def control_app(service: ControlledService) -> ASGIApp:
    """The control API as an ASGI app, for this machine only."""
    control = _Control(service)

    def route(path: str, answer: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
        return Route(f"{PREFIX}/{path}", endpoint=_guarded(answer), methods=list(methods))

    return Router(
        routes=[
            route("state", control.state, "GET"),
            route("journal", control.journal, "GET", "DELETE"),
            route("clock", control.clock, "GET", "POST"),
            route("faults", control.faults, "GET", "POST", "DELETE"),
            route("databases", control.add_database, "POST"),
            route("databases/{id}", control.database, "GET", "PATCH", "DELETE"),
            route("databases/{id}/sql", control.sql, "POST"),
            route("snapshots", control.add_snapshot, "POST"),
            route("snapshots/{version_id:path}", control.remove_snapshot, "DELETE"),
            route("settings", control.settings, "GET", "PATCH"),
            route("cache/drop", control.drop_cache, "POST"),
            route("block", control.block, "POST"),
            route("key", control.key, "POST"),
        ],
        redirect_slashes=False,
    )


def _guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        if not is_local(request):
            return _error(HTTPStatus.FORBIDDEN, "the control API is for programs on this machine")
        try:
            return await answer(request)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            return _error(HTTPStatus.BAD_REQUEST, problems)
        except NoSuchResourceError:
            return _error(HTTPStatus.NOT_FOUND, "no such database")
        except (ValueError, StoreError, sqlite3.Error) as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))

    return guarded


async def _read(request: Request, kind: type[_Wanted], *, if_empty: bytes = b"") -> _Wanted:
    return kind.model_validate_json(await request.body() or if_empty)


async def _read_object(request: Request) -> dict[str, Any]:
    value = json.loads(await request.body())
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - `_guarded` answers 400 to a ValueError
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(settings: EmulatorSettings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name != "api_key"}


def _json(value: Any, status: int = HTTPStatus.OK) -> Response:
    return Response(_JSON_VALUE.dump_json(value), status, media_type="application/json")


def _done() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": "error", "message": message}, status)
