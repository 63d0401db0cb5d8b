"""Where every request passes: routes, journal, keys, budgets and faults; what a route answers is its own."""

from __future__ import annotations

import hmac
import re
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Match

from pulumi_snapshots.emulator.answers import Answer, refused
from pulumi_snapshots.emulator.calls import Call, FaultTakesOverError
from pulumi_snapshots.emulator.control import control_app
from pulumi_snapshots.emulator.fault_answers import faulty_answer, sending_only
from pulumi_snapshots.emulator.journal import JournalEntry, KeySeen
from pulumi_snapshots.emulator.limits import RateBlock
from pulumi_snapshots.emulator.own_page import PAGE, page_app
from pulumi_snapshots.emulator.refusals import RefusedError, refusal
from pulumi_snapshots.emulator.routes import ROUTES, ApiRoute

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pulumi_snapshots.emulator.emulator import Emulator

__all__ = ["CONNECTED", "Gateway", "kind_of"]

CONNECTED = "pulumi_snapshots.connected"  # ASGI extension of a transport that has asked for refused connections itself

# Ids of the OpenAPI document are 32 hex digits, but one of its own examples is not, and apps' may name a workspace.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_COMPILED = tuple((route, route.compiled()) for route in ROUTES)


def kind_of(method: str, path: str) -> tuple[str, str | None]:
    """The kind and the resource's id of a request, for faults that strike before it leaves."""
    route, resource_id, _ = _match({"type": "http", "method": method, "path": path, "root_path": ""})
    return ("unknown" if route is None else route.kind), resource_id


def _match(scope: Scope) -> tuple[ApiRoute | None, str | None, bool]:
    """The route, the id in the path, and whether only the method is wrong."""
    other_method = False
    for route, compiled in _COMPILED:
        match, found = compiled.matches(scope)
        # Starlette lets HEAD in wherever GET is; here each method has its own route.
        if match is Match.FULL and route.method == scope["method"]:
            return route, found["path_params"].get("id"), False
        other_method = other_method or match is not Match.NONE
    return None, None, other_method


class Gateway:
    """The emulator's ASGI app.

    Raises, to whoever serves it:
        DroppedConnectionError: The connection must be closed without the rest of an answer.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._control = control_app(emulator)
        self._page = page_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["path"] in PAGE:
            await self._page(scope, receive, send)
            return
        if scope["path"].startswith("/_emulator"):
            await self._control(scope, receive, send)
            self._emulator.save_changes()
            return
        route, resource_id, other_method = _match(scope)
        call = self._enter(Request(scope, receive), route, resource_id)
        try:
            answer = await self._answer(call, route, other_method=other_method)
        finally:
            call.entry.answered_at = self._emulator.settle()
            self._emulator.save_changes()
        call.entry.status = answer.status_code
        call.entry.code = answer.code
        answer.headers["date"] = format_datetime(call.entry.answered_at, usegmt=True)
        if call.fault is not None:
            answer.headers.update(call.fault.headers)
            if call.fault.cut_after is not None:
                send = sending_only(call.fault.cut_after, send)
        await answer(scope, receive, send)

    def _enter(self, request: Request, route: ApiRoute | None, resource_id: str | None) -> Call:
        emulator = self._emulator
        kind = "unknown" if route is None else route.kind
        now = emulator.settle()
        entry = JournalEntry(
            number=len(emulator.journal) + 1,
            at=now,
            monotonic=emulator.clock.monotonic(),
            method=request.method,
            path=request.scope["path"],
            kind=kind,
            database_id=resource_id,
            key=self._key_seen(request),
        )
        emulator.journal.append(entry)
        connected = CONNECTED in request.scope.get("extensions", {})
        fault = emulator.faults.take(kind, request.method, resource_id, at="answer" if connected else "either")
        entry.fault = None if fault is None else fault.name
        return Call(emulator, request, entry, fault, now)

    def _key_seen(self, request: Request) -> KeySeen:
        sent = request.headers.get("authorization")
        if sent is None:
            return "none"
        right = hmac.compare_digest(sent.encode(), self._emulator.settings.api_key.encode())
        return "right" if right and not self._emulator.account.key_revoked else "wrong"

    async def _answer(self, call: Call, route: ApiRoute | None, *, other_method: bool) -> Answer:
        fault = call.fault
        if fault is None:
            return await self._real_answer(call, route, other_method=other_method)
        if fault.when == "before":
            await call.hold(fault.delay)
            real = None
            if fault.needs_the_answer:
                real = await self._real_answer(call, route, other_method=other_method)
            return faulty_answer(fault, real)
        try:
            real = await self._real_answer(call, route, other_method=other_method)
        except FaultTakesOverError:
            real = None
        await call.hold(fault.delay)
        return faulty_answer(fault, real)

    async def _real_answer(self, call: Call, route: ApiRoute | None, *, other_method: bool) -> Answer:
        try:
            if route is None:
                raise refusal("METHOD_NOT_ALLOWED" if other_method else "NOT_FOUND")
            if route.needs_key:
                self._let_in(call, route)
            return await route.answer(call)
        except RefusedError as error:
            return refused(error, retry_after=self._emulator.settings.retry_after_header)

    def _let_in(self, call: Call, route: ApiRoute) -> None:
        """The checks that every request to the API passes, in the service's order: key, budget, scope, resource."""
        emulator, settings, now = self._emulator, self._emulator.settings, call.now
        address = call.request.client.host if call.request.client is not None else ""
        wrong_keys = emulator.wrong_keys.get(address)
        if wrong_keys is not None:
            wrong_keys.check(now)
        if call.entry.key != "right":
            if settings.wrong_keys_before_block is not None:
                emulator.wrong_keys.setdefault(address, RateBlock()).count(
                    now,
                    settings.wrong_keys_before_block,
                    settings.block_seconds,
                )
            raise refusal("ACCESS_DENIED")
        emulator.budget.check(now)
        # At the service's edge, before whatever holds the request up.
        emulator.budget.count(call.entry.at, settings.requests_per_minute, settings.block_seconds)
        if route.scope is not None and settings.scopes is not None and route.scope not in settings.scopes:
            raise refusal("MISSING_SCOPE")
        resource_id = call.entry.database_id
        if resource_id is None:
            return
        if not _ID.fullmatch(resource_id) and emulator.account.resource(resource_id) is None:
            raise refusal("INVALID_ID")
        if settings.resources is not None and resource_id not in settings.resources:
            raise refusal("RESOURCE_NOT_ALLOWED")
