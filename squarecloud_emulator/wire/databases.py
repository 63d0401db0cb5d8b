"""The routes of databases themselves: what they are, how they do, and how they come and go."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from squarecloud_emulator.data.store import StoreError, outcome
from squarecloud_emulator.service.refusals import refusal
from squarecloud_emulator.service.resources import ADDRESSES, Database
from squarecloud_emulator.wire.answers import Answer, milliseconds, success, timestamp

if TYPE_CHECKING:
    from squarecloud_emulator.wire.exchange import Exchange

IDLE = {"cpu": "0.00%", "ram": "0.00MB"}
"""What a resource that runs uses."""
LEAST_MB = {"redis": 512}
LEAST_OF_OTHERS_MB = 256
LONGEST_NAME = 32
RESETS = ("password", "certificate")


async def database(exchange: Exchange) -> Answer:
    """A database's properties."""
    one = exchange.resource()
    return success(
        {
            "id": one.id,
            "name": one.name,
            "owner": exchange.service.settings.account_id,
            "cluster": one.cluster,
            "ram": one.ram,
            "type": one.type,
            "port": one.port,
            "created_at": timestamp(one.created_at),
        }
    )


async def status(exchange: Exchange) -> Answer:
    """Whether a database is running; `rawData=true` gives numbers for cpu and ram."""
    one = exchange.resource()
    account = exchange.service.account
    up = account.is_up(one, exchange.now)
    # A restore does not start a server of the emulator's again, so it says nothing of that.
    started = (
        None if account.store.takes_time(one.id) else one.started_at or one.created_at
    )
    raw = exchange.request.query_params.get("rawData") == "true"
    return success(
        {
            "cpu": 0 if raw else IDLE["cpu"],
            "ram": 0 if raw else IDLE["ram"],
            "status": "running" if up else "exited",
            "running": up,
            "storage": 0 if raw else "0B",
            "network": {"total": [0, 0], "now": [0, 0]}
            if raw
            else {"total": "0B ↑ 0B ↓", "now": "0B ↑ 0B ↓"},
            "uptime": milliseconds(started) if up else None,
        }
    )


async def all_statuses(exchange: Exchange) -> Answer:
    """Whether each database is running; one that does not has neither cpu nor ram."""
    account = exchange.service.account
    return success(
        [
            {"id": one.id, "running": True, **IDLE}
            if account.is_up(one, exchange.now)
            else {"id": one.id, "running": False}
            for one in exchange.usable()
        ]
    )


async def metrics(exchange: Exchange) -> Answer:
    """No points: nothing is measured."""
    exchange.resource()
    return success([])


async def create(exchange: Exchange) -> Answer:
    """Provision a database; its password and its certificate are shown in this answer only."""
    account = exchange.service.account
    settings = exchange.service.settings
    body = await exchange.body()
    if settings.plan == "free":
        raise refusal("UPGRADE_REQUIRED", status=403)
    kind = body.get("type")
    version = body.get("version")
    if kind not in ADDRESSES:
        raise refusal("INVALID_DATABASE_TYPE")
    if not isinstance(version, str) or not version:
        raise refusal("INVALID_DATABASE_VERSION")
    name = _name(body.get("name"))
    memory = _memory(body.get("memory"), kind)
    if account.memory_used + memory > settings.plan_memory_mb:
        raise refusal("INSUFFICIENT_MEMORY")
    one = Database(
        id=account.free_id(),
        name=name,
        type=kind,
        version=version,
        ram=memory,
        created_at=exchange.now,
    )
    account.add(one)  # before the store is asked, so that no other request gets its id
    try:
        await outcome(account.store.create(one.id, one.type))
    except StoreError as error:
        account.remove(one.id)
        raise refusal("DATABASE_CREATION_FAILED") from error
    return success(
        {
            "id": one.id,
            "name": one.name,
            "memory": one.ram,
            "cpu": one.ram / 1024,
            "type": one.type,
            "password": one.credential("password"),
            "certificate": _certificate(one),
            "connection_url": one.address,
            "cluster": one.cluster,
        }
    )


async def update(exchange: Exchange) -> Answer:
    """Rename a database, or give it another memory."""
    one = exchange.resource()
    body = await exchange.body()
    if not {"name", "ram"} & body.keys():
        raise refusal("NO_UPDATE_DATA")
    name = _name(body["name"]) if "name" in body else one.name
    one.name = name
    one.ram = _memory(body["ram"], one.type) if "ram" in body else one.ram
    exchange.service.account.changed = True
    return success()


async def delete(exchange: Exchange) -> Answer:
    """Delete a database with its snapshots."""
    exchange.service.account.remove(_not_restored(exchange).id)
    return success()


async def start(exchange: Exchange) -> Answer:
    """Start a database."""
    one = _not_restored(exchange)
    if one.running:
        raise refusal("CONTAINER_ALREADY_STARTED")
    one.running = True
    one.started_at = exchange.now
    exchange.service.account.changed = True
    return success()


async def stop(exchange: Exchange) -> Answer:
    """Stop a database."""
    one = _not_restored(exchange)
    if not one.running:
        raise refusal("CONTAINER_ALREADY_STOPPED")
    one.running = False
    exchange.service.account.changed = True
    return success()


async def certificate(exchange: Exchange) -> Answer:
    """What a client of a database that runs needs to connect.

    A private key and a certificate, made up here.
    """
    return success({"certificate": _certificate(_running(exchange))})


async def reset(exchange: Exchange) -> Answer:
    """Make a new password, which only this answer shows, or a new certificate."""
    one = _running(exchange)
    what = (await exchange.body()).get("reset")
    if what not in RESETS:
        raise refusal("INVALID_RESET_TYPE")
    one.resets[what] = one.resets.get(what, 0) + 1
    exchange.service.account.changed = True
    return success({"password": one.credential(what)} if what == "password" else None)


def _running(exchange: Exchange) -> Database:
    one = exchange.resource()
    if not exchange.service.account.is_up(one, exchange.now):
        raise refusal("DATABASE_NOT_RUNNING")
    return one


def _not_restored(exchange: Exchange) -> Database:
    one = exchange.resource()
    if exchange.service.account.restore_refuses_others(one.id, exchange.now):
        raise refusal("RESTORE_IN_PROGRESS", status=403)
    return one


def _name(given: Any) -> str:
    if not isinstance(given, str) or not 1 <= len(given) <= LONGEST_NAME:
        raise refusal("INVALID_NAME")
    return given


def _memory(given: Any, kind: str) -> int:
    if (
        not isinstance(given, int)
        or isinstance(given, bool)
        or given < LEAST_MB.get(kind, LEAST_OF_OTHERS_MB)
    ):
        raise refusal("INVALID_MEMORY")
    return given


def _certificate(one: Database) -> str:
    made_up = one.credential("certificate")
    pem = "".join(
        f"-----BEGIN {of}-----\n{made_up}\n-----END {of}-----\n"
        for of in ("PRIVATE KEY", "CERTIFICATE")
    )
    return b64encode(pem.encode()).decode()
