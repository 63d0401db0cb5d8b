"""The ledger in real places: this machine, a folder, S3 twice, Google's and Azure's servers; two processes race in each."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.ledger.bucket import CHECKSUM, place_of
from pulumi_snapshots.ledger.place import destination_of
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.store import Overtaken
from tests.ledger.racing import count
from tests.support.object_stores import serving
from tests.support.preloaded import python_of
from tests.support.unreliable import Forwarder, served
from tools.engine import Closed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMES = 15


@dataclass(frozen=True)
class Real:
    """A real place: the setting, and one that names no bucket or folder; empty for this machine."""

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


@pytest.fixture(scope="module", params=["machine", "folder", "moto", "s3", "gs", "az"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    if request.param == "machine":
        yield Real("", "")
        return
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


def test_two_processes_that_race_lose_no_change(real: Real, tmp_path: Path, forks: dict[str, str]) -> None:
    command = [python_of(forks), "-m", "tests.ledger.racing", real.setting, str(tmp_path), str(TIMES)]
    racing = [subprocess.Popen(command, env={**os.environ, **forks}) for _ in range(2)]  # noqa: S603  this very interpreter
    assert [process.wait(60) for process in racing] == [0, 0]
    place = place_of(real.setting or None, tmp_path, "service", Clock())
    assert anyio.run(place.read) == {"number": 2 * TIMES}


def test_a_stale_write_is_refused_and_a_first_one_made_once(real: Real) -> None:
    if "://" not in real.setting:
        pytest.skip("a file has locks")
    x = BucketStore(Buckets(environment=CHECKSUM), destination_of(real.setting).holding("x"))
    assert x.load() is None
    first = x.replace(b"1", None)
    with pytest.raises(Overtaken):
        x.replace(b"2", None)
    second = x.replace(b"3", first)
    with pytest.raises(Overtaken):
        x.replace(b"4", first)
    held = x.load()
    assert held is not None
    assert (held.content, held.mark) == (b"3", second)


def test_a_place_that_does_not_exist_takes_no_ledger(real: Real, tmp_path: Path) -> None:
    if not real.missing:
        pytest.skip("this machine's own is made")
    place = place_of(real.missing, tmp_path, "service", Clock())
    with pytest.raises(LedgerUnavailable, match=r"exist|no such folder"):
        anyio.run(place.edit, count)
    assert not list(tmp_path.iterdir()), "written down on this machine instead"
