"""The control API under `/_emulator/`.

What a test or a demo in another process may see and change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from http import HTTPStatus
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, validate_call
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from squarecloud_emulator.control.controlled_service import NoSuchResourceError
from squarecloud_emulator.control.local_only import is_local
from squarecloud_emulator.data.damage import Damage
from squarecloud_emulator.data.store import StoreError, outcome
from squarecloud_emulator.service.faults import Fault
from squarecloud_emulator.service.json_body import json_of
from squarecloud_emulator.service.ranges import COUNT, refuse_outside
from squarecloud_emulator.service.request_journal import KINDS
from squarecloud_emulator.service.resources import Database, Origin
from squarecloud_emulator.service.settings import TEST_API_KEY, EmulatorSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from squarecloud_emulator.control.controlled_service import ControlledService

PREFIX = "/_emulator"

T = TypeVar("T", EmulatorSettings, Database)


_JSON_VALUE = TypeAdapter[Any](Any, config=ConfigDict(ser_json_bytes="hex"))
_FAULT = TypeAdapter(Fault)
_CHANGEABLE = {
    EmulatorSettings: [one.name for one in fields(EmulatorSettings)],
    Database: [one.name for one in fields(Database) if one.name.startswith("next_")]
    + ["snapshot_seconds", "running"],
}
"""What may be changed of each."""


class _Control:
    """The answers of the control API.

    Each method is one route: its arguments are the path's, the query's and the body's.
    """

    def __init__(self, service: ControlledService) -> None:
        self._service = service

    def state(self) -> Any:
        service = self._service
        service.settle()
        return {
            "now": service.now(),
            "settings": self.settings(),
            "requests": len(service.journal),
            "blocked_until": service.rate_limit.until(service.now()),
            "key_revoked": service.account.key_revoked,
            "quota": {
                "used": service.account.quota.used(service.now()),
                "of": service.account.quota.limit(service.settings.plan_memory_mb),
            },
            "public_key": TEST_API_KEY
            if service.settings.api_key == TEST_API_KEY
            else None,
            "databases": [self._resource(one) for one in service.databases.values()],
            "faults": service.faults.rules,
            "kinds": KINDS,
        }

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

    def journal(self, after: int = 0) -> Any:
        refuse_outside("after", after, COUNT)
        return [entry for entry in self._service.journal if entry.number > after]

    def clear_journal(self) -> None:
        self._service.journal.clear()

    def clock(self) -> Any:
        settings = self._service.settings
        return {
            "now": self._service.now(),
            "offset": settings.clock_offset_seconds,
            "speed": settings.speed,
        }

    def change_clock(
        self,
        advance: float | None = None,
        offset: float | None = None,
        speed: float | None = None,
    ) -> Any:
        changes = {"clock_offset_seconds": offset, "speed": speed}
        given = {name: value for name, value in changes.items() if value is not None}
        self._service.settings = replace(self._service.settings, **given)  # type: ignore[arg-type]  # each is a number
        if advance is not None:
            self._service.advance(advance)
        return self.clock()

    def faults(self) -> Any:
        return self._service.faults.rules

    def add_fault(self, **rule: Any) -> Any:
        return self._service.add_fault(_FAULT.validate_python(rule))

    def clear_faults(self) -> None:
        self._service.clear_faults()

    def add_database(self, **given: Any) -> Any:
        return self._resource(validate_call(self._service.add_database)(**given))

    def database(self, id: str) -> Any:  # noqa: A002
        self._service.settle()
        return self._resource(self._service.existing(id))

    def change_database(self, id: str, **changes: Any) -> Any:  # noqa: A002
        self._service.settle()
        changed = _changed(self._service.existing(id), changes)
        self._service.change_database(
            id, **{name: getattr(changed, name) for name in changes}
        )
        return self.database(id)

    def remove_database(self, id: str) -> None:  # noqa: A002
        self._service.settle()
        self._service.remove_database(id)

    async def sql(self, id: str, statements: list[str]) -> Any:  # noqa: A002
        service = self._service
        one = service.existing(id)
        service.settle()
        if not service.account.is_up(one, service.now()):
            raise HTTPException(HTTPStatus.CONFLICT, "the database is down")
        return {
            "rows": await outcome(service.account.store.execute(one.id, statements))
        }

    def add_snapshot(  # noqa: PLR0913, PLR0917 - the parts of a snapshot
        self,
        database_id: str,
        origin: Origin | None = "manual",
        modified: str | None = None,
        size: int | None = None,
        version_id: str | None = None,
        listed: bool = True,  # noqa: FBT001, FBT002 - a field of the body
        damage: Damage | None = None,
    ) -> Any:
        return self._service.add_snapshot(
            database_id,
            origin=origin,
            modified=None if modified is None else _moment(modified),
            size=size,
            version_id=version_id,
            listed=listed,
            damage=damage,
        )

    def remove_snapshot(self, version_id: str) -> None:
        self._service.remove_snapshot(version_id)

    def settings(self) -> Any:
        return {
            name: value
            for name, value in asdict(self._service.settings).items()
            if name != "api_key"
        }

    def change_settings(self, **changes: Any) -> Any:
        self._service.settings = _changed(self._service.settings, changes)
        return self.settings()

    def drop_cache(self, database_id: str | None = None) -> None:
        self._service.drop_cache(database_id)

    def block(self, seconds: float | None = None) -> None:
        self._service.block(seconds)

    def key(self, revoked: bool) -> None:  # noqa: FBT001 - a field of the body
        self._service.revoke_key(revoked=revoked)


ANSWERS: dict[str, dict[str, Callable[..., Any]]] = {
    "state": {"GET": _Control.state},
    "journal": {"GET": _Control.journal, "DELETE": _Control.clear_journal},
    "clock": {"GET": _Control.clock, "POST": _Control.change_clock},
    "faults": {
        "GET": _Control.faults,
        "POST": _Control.add_fault,
        "DELETE": _Control.clear_faults,
    },
    "databases": {"POST": _Control.add_database},
    "databases/{id}": {
        "GET": _Control.database,
        "PATCH": _Control.change_database,
        "DELETE": _Control.remove_database,
    },
    "databases/{id}/sql": {"POST": _Control.sql},
    "snapshots": {"POST": _Control.add_snapshot},
    "snapshots/{version_id:path}": {"DELETE": _Control.remove_snapshot},
    "settings": {"GET": _Control.settings, "PATCH": _Control.change_settings},
    "cache/drop": {"POST": _Control.drop_cache},
    "block": {"POST": _Control.block},
    "key": {"POST": _Control.key},
}
_CHECKED = {
    path: {method: validate_call(one) for method, one in answers.items()}
    for path, answers in ANSWERS.items()
}
"""Once for all emulators: preparing the checks takes longer than most tests."""


def control_app(service: ControlledService) -> ASGIApp:
    """The control API as an ASGI app, for this machine only."""
    control = _Control(service)
    routes = [
        Route(
            f"{PREFIX}/{path}",
            endpoint=_answering(control, answers),
            methods=list(answers),
        )
        for path, answers in _CHECKED.items()
    ]
    router = Router(routes=routes, redirect_slashes=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if is_local(Request(scope), service.base_url):
            await router(scope, receive, send)
        else:  # before any route is looked for, so that none can be forgotten
            text = "the control API is for programs on this machine"
            await _error(HTTPStatus.FORBIDDEN, text)(scope, receive, send)

    return app


def _answering(
    control: _Control, answers: dict[str, Callable[..., Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = await _body_of(request)
            answer_it = answers.get(request.method) or answers["GET"]  # for a HEAD
            answered = answer_it(
                control,
                **body,
                **request.query_params,
                **request.path_params,
            )
            answered = await answered if isawaitable(answered) else answered
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
                for one in error.errors()
            )
            return _error(HTTPStatus.BAD_REQUEST, problems)
        except NoSuchResourceError:
            return _error(HTTPStatus.NOT_FOUND, "no such database")
        except HTTPException as error:
            return _error(error.status_code, error.detail)
        except (
            TypeError,
            ValueError,
            OverflowError,
            StoreError,
            sqlite3.Error,
        ) as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        if answered is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        status = (
            HTTPStatus.CREATED
            if answer_it.__name__.startswith("add_")
            else HTTPStatus.OK
        )
        return Response(
            _JSON_VALUE.dump_json(answered), status, media_type="application/json"
        )

    return answer


async def _body_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body, empty without one.

    ValueError if it is something else.
    """
    body = json_of(await request.body() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004  one error for each wrong body
    return body


def _changed(one: T, changes: dict[str, Any]) -> T:
    known = _CHANGEABLE[type(one)]
    unknown = changes.keys() - set(known)
    if unknown:
        raise ValueError(
            f"no such field: {', '.join(sorted(unknown))}; the fields are "
            f"{', '.join(sorted(known))}"
        )
    return TypeAdapter(type(one)).validate_python({**asdict(one), **changes})


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": "error", "message": message}, status)
