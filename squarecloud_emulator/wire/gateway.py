"""The way of every request.

Its route, its entry in the journal, its key, its limits, its fault, its answer.
"""

from __future__ import annotations

import contextlib
import hmac
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Match

from squarecloud_emulator.service.limits import RateLimit
from squarecloud_emulator.service.refusals import RefusedError, refusal
from squarecloud_emulator.service.request_journal import JournalEntry, KeySeen
from squarecloud_emulator.service.resources import ID
from squarecloud_emulator.wire.answers import Answer, refused
from squarecloud_emulator.wire.exchange import Exchange, FaultTakesOverError
from squarecloud_emulator.wire.fault_answers import faulty_answer, sending_only
from squarecloud_emulator.wire.routes import NO_ROUTE, OTHER_METHOD, ROUTES, ApiRoute

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from squarecloud_emulator.service.service import EmulatedService

CONNECTED = "pulumi_snapshots.connected"
"""ASGI extension of a transport that has already carried out the faults that refuse connections."""

_COMPILED = tuple((route, route.compiled()) for route in ROUTES)


def kind_of(method: str, path: str) -> tuple[str, str | None]:
    """The kind of a request and the id in its path, for a transport that refuses connections."""
    route, resource_id = _match(method, path)
    return route.kind, resource_id


@lru_cache(maxsize=1000)  # clients poll the same few paths
def _match(method: str, path: str) -> tuple[ApiRoute, str | None]:
    """The route, and the id in the path."""
    otherwise = NO_ROUTE
    for route, compiled in _COMPILED:
        match, found = compiled.matches(
            {"type": "http", "method": method, "path": path, "root_path": ""}
        )
        # Starlette allows HEAD on a route for GET; here each method has its own route.
        if match is Match.FULL and route.method == method:
            return route, found["path_params"].get("id")
        if match is not Match.NONE:
            otherwise = OTHER_METHOD
    return otherwise, None


class Gateway:
    """Enters each request in the journal, admits or refuses it, and carries out its fault.

    Raises, to the server:
        DroppedConnectionError: Close the connection without the rest of an answer.
    """

    def __init__(self, service: EmulatedService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route, resource_id = _match(scope["method"], scope["path"])
        exchange = self._enter(Request(scope, receive), route.kind, resource_id)
        try:
            answer = await self._answer(exchange, route)
        finally:
            exchange.entry.answered_at = self._service.settle()
            self._service.save_changes()
        exchange.entry.status = answer.status_code
        exchange.entry.code = answer.code
        answer.headers["date"] = format_datetime(
            exchange.entry.answered_at, usegmt=True
        )
        if exchange.fault is not None:
            answer.headers.update(exchange.fault.headers)
            if exchange.fault.cut_after is not None:
                send = sending_only(exchange.fault.cut_after, send)
        await answer(scope, receive, send)

    def _enter(self, request: Request, kind: str, resource_id: str | None) -> Exchange:
        service = self._service
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
        fault = service.faults.take(
            kind,
            request.method,
            resource_id,
            at="answer" if connected else "either",
        )
        entry.fault = None if fault is None else fault.name
        return Exchange(service, request, entry, fault, now)

    def _key_seen(self, request: Request) -> KeySeen:
        sent = request.headers.get("authorization")
        if sent is None:
            return "none"
        right = hmac.compare_digest(
            sent.encode(), self._service.settings.api_key.encode()
        )
        return "right" if right and not self._service.account.key_revoked else "wrong"

    async def _answer(self, exchange: Exchange, route: ApiRoute) -> Answer:
        fault = exchange.fault
        if fault is None:
            return await self._real_answer(exchange, route)
        if fault.when == "before":
            await exchange.hold(fault.delay)
        real = None
        if fault.when == "after" or fault.needs_the_answer:
            with contextlib.suppress(FaultTakesOverError):
                real = await self._real_answer(exchange, route)
        if fault.when == "after":
            await exchange.hold(fault.delay)
        return faulty_answer(fault, real)

    async def _real_answer(self, exchange: Exchange, route: ApiRoute) -> Answer:
        try:
            if route.needs_key:
                self._admit(exchange, route)
            return await route.answer(exchange)
        except RefusedError as error:
            return refused(error, retry_after=self._service.settings.retry_after_header)

    def _admit(self, exchange: Exchange, route: ApiRoute) -> None:
        """Check what every request to the API must pass, in the service's order.

        Key, rate limit, scope, resource.

        Raises:
            RefusedError: It does not pass.

        """
        self._admit_key(exchange)
        service = self._service
        settings = service.settings
        service.rate_limit.check(exchange.now)
        # A request counts from its arrival, even if a fault delays it.
        service.rate_limit.count(
            exchange.entry.at, settings.requests_per_minute, settings.block_seconds
        )
        if not settings.key_has(route.scope):
            raise refusal("MISSING_SCOPE")
        if route.limit is not None:
            service.route_limits.count(route.kind, *route.limit, exchange.now)
        self._admit_resource(exchange)

    def _admit_key(self, exchange: Exchange) -> None:
        """Check the key; a wrong one counts against its sender's address."""
        settings = self._service.settings
        limits = self._service.wrong_key_limits
        client = exchange.request.client
        address = "" if client is None else client.host
        if address in limits:
            limits[address].check(exchange.now)
        if exchange.entry.key == "right":
            return
        if settings.wrong_keys_before_block is not None:
            wrong_keys = limits.setdefault(address, RateLimit())
            wrong_keys.count(
                exchange.now, settings.wrong_keys_before_block, settings.block_seconds
            )
        raise refusal("ACCESS_DENIED")

    def _admit_resource(self, exchange: Exchange) -> None:
        """Check that the key may use the database in the path, if there is one."""
        service = self._service
        resource_id = exchange.entry.database_id
        if resource_id is None:
            return
        if (
            not ID.fullmatch(resource_id)
            and resource_id not in service.account.databases
        ):
            raise refusal("INVALID_ID")
        if not service.settings.key_may_use(resource_id):
            raise refusal("RESOURCE_NOT_ALLOWED")
