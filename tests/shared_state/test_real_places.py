"""Shared state in real places: S3 twice, Google's and Azure's servers, and a folder; two processes race in each."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

import anyio
import pytest

from pulumi_snapshots.attempt.owner import Asker
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.emulator import Emulator
from pulumi_snapshots.errors.outcomes import SharedStateUnavailable
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, Settings
from pulumi_snapshots.shared_state.objects import BucketObjects
from pulumi_snapshots.shared_state.place import place_of
from pulumi_snapshots.shared_state.state import shared_state
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.stores.buckets import Overtaken
from tests.support.object_stores import Closed, serving
from tests.support.preloaded import python_of
from tests.support.unreliable import Forwarder, served
from tests.support.wire import EmulatorTransport
from tests.support.world import DATABASE, OWNER, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMES = 15


@dataclass(frozen=True)
class Real:
    """A real place: the setting, and one that names no bucket or folder."""

    setting: str
    missing: str


class InTurn(Forwarder):
    """Forwards one request at a time."""

    turn: threading.Lock

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        with self.turn:
            answer = self.forwarded(self.command, self.path, body)
        self.answer(*answer)


def in_turn(target: str) -> AbstractContextManager[str]:
    """The address of a proxy before a server that checks the condition of a write and writes in two steps.

    Of writes that overlap, it accepts some that it should refuse, which S3 does not.
    """
    return served(InTurn, host=urlsplit(target).netloc, turn=threading.Lock())


@pytest.fixture(scope="module", params=["folder", "moto", "s3", "gs", "az"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    if request.param == "folder":
        folder = tmp_path_factory.mktemp("shared")
        yield Real(str(folder), str(folder / "missing"))
        return
    with ExitStack() as stack:
        try:
            store = stack.enter_context(serving(request.param))
        except Closed as reason:
            pytest.skip(str(reason))
        url = stack.enter_context(in_turn(store.url)) if store.scheme == "s3" else store.url
        stack.enter_context(patch.dict(os.environ, store.reached_at(url)))
        store.make_bucket("shared")
        yield Real(f"{store.scheme}://shared/of/team", f"{store.scheme}://missing/of/team")


def test_two_processes_that_race_lose_no_change(real: Real, forks: dict[str, str]) -> None:
    command = [python_of(forks), "-m", "tests.shared_state.racing", real.setting, str(TIMES)]
    racing = [subprocess.Popen(command, env={**os.environ, **forks}) for _ in range(2)]  # noqa: S603  this very interpreter
    assert [process.wait(60) for process in racing] == [0, 0]
    content = anyio.run(shared_state(real.setting, Clock()).file("number.json").read)
    assert content["number"] == 2 * TIMES


def test_a_stale_write_is_refused_and_a_first_one_made_once(real: Real) -> None:
    place = place_of(real.setting)
    if place.scheme == "file":
        pytest.skip("a folder has locks")
    objects = BucketObjects(place)
    assert objects.load("x") is None
    first = objects.replace("x", b"1", None)
    with pytest.raises(Overtaken):
        objects.replace("x", b"2", None)
    second = objects.replace("x", b"3", first)
    with pytest.raises(Overtaken):
        objects.replace("x", b"4", first)
    held = objects.load("x")
    assert held is not None
    assert (held.content, held.mark) == (b"3", second)


def test_a_create_finds_on_another_machine_what_it_took_on_the_first(real: Real, tmp_path: Path) -> None:
    async def run() -> None:
        emulator = Emulator(clock=Clock())
        emulator.add_database(DATABASE, snapshot_seconds=0.1)
        settings = Settings(
            api_key=ApiKey(emulator.settings.api_key),
            api_url=emulator.api_url,
            snapshots_url=emulator.snapshots_url,
            shared_state=real.setting,
        )
        versions = []
        for machine in "ab":  # the state of the first is lost
            session = Session(settings, clock=Clock(), http=EmulatorTransport(emulator), state=tmp_path / machine)
            record = await create(session, SnapshotInputs(DATABASE), Row(), Asker(OWNER))
            versions.append(record.version_id)
            assert session.shared_state is not None
            assert abs(session.shared_state.ahead or 99.0) < 2, "the place is on this machine"
        assert [post.version_id for post in emulator.journal if post.kind == "create"] == versions[:1]
        assert versions[0] == versions[1]
        away = Session(replace(settings, shared_state=real.missing), http=EmulatorTransport(emulator), state=tmp_path)
        with pytest.raises(SharedStateUnavailable, match=r"exist|[Nn]o such"):
            await create(away, SnapshotInputs(DATABASE, triggers=["other"]), Row(), Asker(OWNER))
        assert len([post for post in emulator.journal if post.kind == "create"]) == 1

    anyio.run(run)
    assert not [path for path in tmp_path.rglob("*.json") if "pages" not in path.name], (
        "written down on this machine too"
    )
