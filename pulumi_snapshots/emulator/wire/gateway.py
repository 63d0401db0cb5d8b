"""Where every request passes: routes, journal, keys, budgets and faults; what a route answers is its own."""

from __future__ import annotations

import hmac
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Match

from pulumi_snapshots.emulator.service.limits import RateLimit
from pulumi_snapshots.emulator.service.refusals import RefusedError, refusal
from pulumi_snapshots.emulator.service.request_journal import JournalEntry, KeySeen
from pulumi_snapshots.emulator.service.resources import ID
from pulumi_snapshots.emulator.wire.answers import Answer, refused
from pulumi_snapshots.emulator.wire.exchange import Exchange, FaultTakesOverError
from pulumi_snapshots.emulator.wire.fault_answers import faulty_answer, sending_only
from pulumi_snapshots.emulator.wire.routes import ROUTES, ApiRoute

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pulumi_snapshots.emulator.service.service import EmulatedService

__all__ = ["CONNECTED", "Gateway", "kind_of"]

CONNECTED = "pulumi_snapshots.connected"  # ASGI extension of a transport that has asked for refused connections itself

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
    """Enters each request in the journal, lets it in or refuses it, and carries out the faults that strike it.

    Raises, to the server:
        DroppedConnectionError: Close the connection without the rest of an answer.
    """

    def __init__(self, service: EmulatedService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route, resource_id, other_method = _match(scope)
        exchange = self._enter(Request(scope, receive), route, resource_id)
        try:
            answer = await self._answer(exchange, route, other_method=other_method)
        finally:
            exchange.entry.answered_at = self._service.settle()
            self._service.save_changes()
        exchange.entry.status = answer.status_code
        exchange.entry.code = answer.code
        answer.headers["date"] = format_datetime(exchange.entry.answered_at, usegmt=True)
        if exchange.fault is not None:
            answer.headers.update(exchange.fault.headers)
            if exchange.fault.cut_after is not None:
                send = sending_only(exchange.fault.cut_after, send)
        await answer(scope, receive, send)

    def _enter(self, request: Request, route: ApiRoute | None, resource_id: str | None) -> Exchange:
        service = self._service
        kind = "unknown" if route is None else route.kind
        now = service.settle()
        entry = JournalEntry(
            number=len(service.journal) + 1,
            at=now,
            monotonic=service.clock.monotonic(),
            method=request.method,
            path=request.scope["path"],
            kind=kind,
            database_id=resource_id,
            key=self._key_seen(request),
        )
        service.journal.append(entry)
        connected = CONNECTED in request.scope.get("extensions", {})
        fault = service.faults.take(kind, request.method, resource_id, at="answer" if connected else "either")
        entry.fault = None if fault is None else fault.name
        return Exchange(service, request, entry, fault, now)

    def _key_seen(self, request: Request) -> KeySeen:
        sent = request.headers.get("authorization")
        if sent is None:
            return "none"
        right = hmac.compare_digest(sent.encode(), self._service.settings.api_key.encode())
        return "right" if right and not self._service.account.key_revoked else "wrong"

    async def _answer(self, exchange: Exchange, route: ApiRoute | None, *, other_method: bool) -> Answer:
        fault = exchange.fault
        if fault is None:
            return await self._real_answer(exchange, route, other_method=other_method)
        if fault.when == "before":
            await exchange.hold(fault.delay)
            real = None
            if fault.needs_the_answer:
                real = await self._real_answer(exchange, route, other_method=other_method)
            return faulty_answer(fault, real)
        try:
            real = await self._real_answer(exchange, route, other_method=other_method)
        except FaultTakesOverError:
            real = None
        await exchange.hold(fault.delay)
        return faulty_answer(fault, real)

    async def _real_answer(self, exchange: Exchange, route: ApiRoute | None, *, other_method: bool) -> Answer:
        try:
            if route is None:
                raise refusal("METHOD_NOT_ALLOWED" if other_method else "NOT_FOUND")
            if route.needs_key:
                self._let_in(exchange, route)
            return await route.answer(exchange)
        except RefusedError as error:
            return refused(error, retry_after=self._service.settings.retry_after_header)

    def _let_in(self, exchange: Exchange, route: ApiRoute) -> None:
        """The checks that every request to the API passes, in the service's order: key, budget, scope, resource."""
        service, settings, now = self._service, self._service.settings, exchange.now
        address = exchange.request.client.host if exchange.request.client is not None else ""
        wrong_keys = service.wrong_key_limits.get(address)
        if wrong_keys is not None:
            wrong_keys.check(now)
        if exchange.entry.key != "right":
            if settings.wrong_keys_before_block is not None:
                service.wrong_key_limits.setdefault(address, RateLimit()).count(
                    now,
                    settings.wrong_keys_before_block,
                    settings.block_seconds,
                )
            raise refusal("ACCESS_DENIED")
        service.rate_limit.check(now)
        # At the service's edge, before whatever holds the request up.
        service.rate_limit.count(exchange.entry.at, settings.requests_per_minute, settings.block_seconds)
        if route.scope is not None and settings.scopes is not None and route.scope not in settings.scopes:
            raise refusal("MISSING_SCOPE")
        resource_id = exchange.entry.database_id
        if resource_id is None:
            return
        if not ID.fullmatch(resource_id) and service.account.resource(resource_id) is None:
            raise refusal("INVALID_ID")
        if settings.resources is not None and resource_id not in settings.resources:
            raise refusal("RESOURCE_NOT_ALLOWED")
