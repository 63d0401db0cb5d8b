"""What is alike for every kind of database: ages, refusals, interruptions, and unknown errors of a library."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

from pulumi_snapshots.databases.answers import CheckNotRun, DatabaseUnreachable
from pulumi_snapshots.databases.opening import SESSIONS, open_database
from tests.support.asking import SECONDS, asked

if TYPE_CHECKING:
    from tools.servers import Server

KINDS = {"postgres_server": "postgres", "mariadb": "mysql", "ferretdb": "shop", "redis_server": "0"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_says_how_long_it_has_run(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)

    async def age() -> float:
        async with open_database(server.url(KINDS[kind]), timeout=SECONDS) as database:
            seconds = await database.age()
            assert seconds is not None
            return seconds

    first = anyio.run(age)
    assert 0 <= first < time.clock_gettime(time.CLOCK_BOOTTIME)
    assert anyio.run(age) >= first


@pytest.mark.parametrize("kind", ["postgres_server", "mariadb", "redis_server"])
def test_a_wrong_password_is_a_refusal_that_stays(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)

    async def opened(dsn: str) -> DatabaseUnreachable:
        with pytest.raises(DatabaseUnreachable) as failed:
            async with open_database(dsn, timeout=SECONDS):
                pass
        return failed.value

    scheme = server.url().partition(":")[0]
    place = f"127.0.0.1:{server.port}/{KINDS[kind]}"
    assert anyio.run(opened, f"{scheme}://someone:hush-hush@{place}").lasting
    assert not anyio.run(opened, f"{scheme}://someone:hush-hush@127.0.0.1:1/{KINDS[kind]}").lasting


SLOW = {
    "postgres_server": ("select pg_sleep(60)", "select 1"),
    "mariadb": ("select sleep(60)", "select 1"),
    "redis_server": ("xread block 0 streams nothing $", "exists nothing"),
}
"""By server: a command that takes long, and one that does not."""


@pytest.mark.parametrize("kind", SLOW)
def test_a_run_that_is_stopped_or_too_slow_does_not_wait(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    place, (slow, quick) = server.url(KINDS[kind]), SLOW[kind]
    before = set(threading.enumerate())

    async def stopped() -> None:
        async with open_database(place, timeout=8):
            with anyio.move_on_after(0.2):
                async with open_database(place, timeout=8) as database:
                    await database.ask(slow)

    began = time.monotonic()
    anyio.run(stopped)
    assert time.monotonic() - began < 5
    told = asked(place, [slow, quick], seconds=2)
    assert told[slow] == "no result within 2 s"
    assert told[quick] in {0, 1}, "over another connection, if the slow one has cost that one"
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


class _Strange:
    is_open = True

    def __init__(self, dsn: str, _seconds: float) -> None:
        if "wrong" in dsn:
            self.ask("hush-hush")

    def ask(self, command: str) -> NoReturn:
        raise RuntimeError(f"'cryptography' is required for {command}")

    def close(self) -> None: ...


@pytest.mark.parametrize("dsn", ["mysql://a:hush-hush@wrong/shop", "mysql://a:hush-hush@right/shop"])
def test_an_unknown_error_of_a_library_ends_in_ours(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SESSIONS, "mysql", lambda: _Strange)

    async def body() -> None:
        async with open_database(dsn, timeout=SECONDS) as database:
            await database.ask("hush-hush")

    with pytest.raises((DatabaseUnreachable, CheckNotRun)) as failed:
        anyio.run(body)
    assert isinstance(failed.value, DatabaseUnreachable | CheckNotRun)
    assert failed.value.why == "'cryptography' is required for …"
    assert failed.value.__context__ is None
