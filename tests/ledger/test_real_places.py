"""The ledger in real places, where two processes race; and a real store that refuses one thing, which the error names."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import HintKind, LedgerUnavailable
from pulumi_snapshots.ledger.bucket import CHECKSUM, place_of
from pulumi_snapshots.ledger.place import Place, destination_of
from pulumi_snapshots.storage.buckets import Buckets, BucketStore
from pulumi_snapshots.storage.store import Overtaken
from tests.ledger.racing import count
from tests.support.machine import had
from tests.support.object_stores import ObjectStore, Stores
from tests.support.preloaded import python_of
from tests.support.unreliable import (
    Failure,
    Forwarder,
    Request,
    Unreliable,
    served,
    unreliable,
)

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


BUCKETS = ["s3", "gs", "az", pytest.param("versity", marks=pytest.mark.nightly)]
in_buckets = pytest.mark.parametrize("real", BUCKETS, indirect=True)
in_shared_places = pytest.mark.parametrize("real", ["folder", *BUCKETS], indirect=True)


@pytest.fixture(scope="module", params=["machine", "folder", *BUCKETS])
def real(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stores: Stores,
) -> Iterator[Real]:
    if request.param == "machine":
        yield Real("", "")
        return
    if request.param == "folder":
        folder = tmp_path_factory.mktemp("shared")
        yield Real(str(folder), str(folder / "missing"))
        return
    with ExitStack() as stack:
        store = had(request.param, lambda: stores(request.param))
        url = (
            stack.enter_context(in_turn(store.url))
            if store.scheme == "s3"
            else store.url
        )
        stack.enter_context(patch.dict(os.environ, store.reached_at(url)))
        store.make_bucket(f"shared-{request.param}")
        yield Real(
            f"{store.scheme}://shared-{request.param}/of/team",
            f"{store.scheme}://missing/of/team",
        )


def test_two_processes_that_race_lose_no_change(
    real: Real, tmp_path: Path, forks: dict[str, str]
) -> None:
    command = [
        python_of(forks),
        "-m",
        "tests.ledger.racing",
        real.setting,
        str(tmp_path),
        str(TIMES),
    ]
    racing = [subprocess.Popen(command, env={**os.environ, **forks}) for _ in range(2)]  # noqa: S603  this very interpreter
    assert [process.wait(60) for process in racing] == [0, 0]
    place = place_of(real.setting or None, tmp_path, "service", Clock())
    assert anyio.run(place.read) == {"number": 2 * TIMES}


@in_buckets
def test_a_stale_write_is_refused_and_a_first_one_made_once(real: Real) -> None:
    x = BucketStore(
        Buckets(environment=CHECKSUM), destination_of(real.setting).holding("x")
    )
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


@in_shared_places
def test_a_place_that_does_not_exist_takes_no_ledger(
    real: Real, tmp_path: Path
) -> None:
    place = place_of(real.missing, tmp_path, "service", Clock())
    with pytest.raises(LedgerUnavailable, match=r"exist|no such folder"):
        anyio.run(place.edit, count)
    assert not list(tmp_path.iterdir()), "written down on this machine instead"


REFUSED = (403, "AccessDenied")
PREFIX = "of team/ä+%41='(&)"
"""What people name folders: each character is encoded in its own way."""


@pytest.fixture(scope="module")
def store(stores: Stores) -> Iterator[ObjectStore]:
    there = stores("s3")
    there.make_bucket("shared")
    with patch.dict(os.environ, there.environment):
        yield there


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[Unreliable]:
    with unreliable(store.url) as proxy:
        yield proxy


def at(folder: Path, name: str, *, endpoint: str = "") -> Place:
    """The place as a new process reaches it, through this endpoint."""
    return place_of(
        f"s3://shared/{name}" + f"?endpoint={endpoint}" * bool(endpoint),
        folder,
        "service",
        Clock(),
    )


def unlisted(proxy: Unreliable) -> Callable[[Request], Failure]:
    """Refuse to read what was never written, as S3 does without the right to list."""

    def fails(request: Request) -> Failure:
        written = {each.path for each in proxy.requests if each.method == "PUT"}
        return (
            REFUSED if request.method == "GET" and request.path not in written else None
        )

    return fails


def without(method: str) -> Callable[[Unreliable], Callable[[Request], Failure]]:
    return lambda _: lambda request: REFUSED if request.method == method else None


def always(
    status: int, code: str
) -> Callable[[Unreliable], Callable[[Request], Failure]]:
    return lambda _: lambda _request: (status, code)


@pytest.mark.parametrize(
    ("fails", "why", "step"),
    [
        (without("GET"), "AccessDenied", HintKind.ALLOW_LISTING),
        (unlisted, "AccessDenied", HintKind.ALLOW_LISTING),
        (without("PUT"), "AccessDenied", HintKind.CHECK_SHARED_STATE),
        (always(400, "ExpiredToken"), "ExpiredToken", HintKind.CHECK_SHARED_STATE),
        (always(301, "PermanentRedirect"), "region", HintKind.SET_REGION),
    ],
    ids=["get", "list", "put", "credentials that have ended", "another region"],
)
def test_a_store_that_refuses_one_thing_is_named_with_the_way_out(  # noqa: PLR0913
    proxy: Unreliable,
    tmp_path: Path,
    *,
    fails: Callable[[Unreliable], Callable[[Request], Failure]],
    why: str,
    step: HintKind,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    proxy.fails = fails(proxy)
    with pytest.raises(LedgerUnavailable, match="cannot be used") as caught:
        anyio.run(at(tmp_path, name, endpoint=proxy.url).edit, count)
    assert why in caught.value.trouble
    assert str(caught.value).count("s3://") == 1
    assert step in [each.step for each in caught.value.then]
    assert not list(tmp_path.iterdir()), "written down on this machine instead"
    assert anyio.run(at(tmp_path, name).read) == {}


def test_no_right_to_delete_is_needed(proxy: Unreliable, tmp_path: Path) -> None:
    proxy.fails = without("DELETE")(proxy)
    assert [
        anyio.run(at(tmp_path, "kept", endpoint=proxy.url).edit, count)
        for _ in range(3)
    ] == [
        1,
        2,
        3,
    ]
    assert "DELETE" not in {each.method for each in proxy.requests}


def test_odd_characters_of_a_prefix_name_one_place_for_all(
    store: ObjectStore, tmp_path: Path
) -> None:
    assert [anyio.run(at(tmp_path, PREFIX).edit, count) for _ in range(2)] == [1, 2]
    keys = [
        each["Key"] for each in store.s3().list_objects_v2(Bucket="shared")["Contents"]
    ]
    assert f"{PREFIX}/service.ledger.json" in keys


class AsAmazon(Forwarder):
    """Takes a checksum for what it is, as Amazon's S3 does; moto asks for a header of Amazon's own libraries beside it."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "x-amz-checksum-sha256" in self.headers:
            self.headers["x-amz-sdk-checksum-algorithm"] = "SHA256"
        self.answer(*self.forwarded(self.command, self.path, body))


def test_versioned_and_locked_buckets_take_a_ledger(
    store: ObjectStore, tmp_path: Path
) -> None:
    s3 = store.s3()
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(
        Bucket="versions", VersioningConfiguration={"Status": "Enabled"}
    )
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket="locked",
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
    )
    with served(AsAmazon, host=urlsplit(store.url).netloc) as url:
        for bucket in ("versions", "locked"):
            place = f"s3://{bucket}/a?endpoint={url}"
            made = [
                anyio.run(place_of(place, tmp_path, "service", Clock()).edit, count)
                for _ in range(3)
            ]
            assert made == [1, 2, 3]
