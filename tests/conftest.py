"""What tests of every folder may ask for: a real PostgreSQL server, one for the run, from the development packages."""

import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

TESTS = Path(__file__).resolve().parent
# Assertions of helpers print their values too. Before they are imported, here or elsewhere.
pytest.register_assert_rewrite(
    *(f"tests.{each.name}" for each in TESTS.iterdir() if each.is_dir())
)

from pulumi_snapshots.engine import wording  # noqa: E402
from tests.support.machine import lacks, refusal  # noqa: E402
from tests.support.object_stores import Stores, running  # noqa: E402
from tests.support.preloaded import preloaded  # noqa: E402
from tests.support.tls_front import Certificates, certificates  # noqa: E402
from tools import engine, servers  # noqa: E402

SERVERS = {
    "server",
    "postgres_server",
    "mariadb",
    "redis_server",
    "ferretdb",
    "shop",
    "tls",
    "stores",
}
"""Fixtures of the tests that start a server."""
FORKS = pytest.StashKey[dict[str, str]]()

# Tests start many Python processes. Without compiled files on disk each compiles all that it imports, which doubles its
# time, so they are written whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# What a script's background job starts ignores SIGINT, by which the engine ends its plugins: it would wait 5 s for each.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# While tests are collected almost everything stays. To look for garbage after every 700 objects takes a tenth of that.
gc.set_threshold(50_000)


@pytest.fixture(autouse=True, scope="session")
def _no_last_error() -> Iterator[None]:
    """What fails in a test's own process is not the last error of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wording, "keep_last", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _tracebacks_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that ends a call of a dynamic provider silences all tracebacks of its process."""
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)


def pytest_xdist_auto_num_workers() -> int:
    """Three more than there are cores: a test with the engine waits for half of its time."""
    return (os.cpu_count() or 1) + 3


def pytest_configure(config: pytest.Config) -> None:
    """Let each worker collect another part of the tests first, so that it finds most files compiled by another one."""
    worker = getattr(config, "workerinput", None)
    # which does not hold for what is named
    ignored = config.option.ignore or config.option.ignore_glob
    if worker is not None and config.args == ["tests"] and not ignored:
        parts = sorted(
            str(each)
            for each in TESTS.iterdir()
            if any(each.rglob("test_*.py")) or each.match("test_*.py")
        )
        number = re.sub(r"\D", "", worker["workerid"]) or 0
        first = len(parts) * int(number) // worker["workercount"]
        config.args[:] = parts[first:] + parts[:first]


@pytest.hookimpl(trylast=True)  # after those that are not to run are taken out
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Let all workers but one begin with the engine's tests, and that one with those that start servers, so that each starts once.

    Workers are given consecutive parts of the list, of the same length, and the first that has nothing left takes of what
    another has at its end. Neighbours stay together: they share a file's fixtures.
    """
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    if workers > 1:
        items.sort(key=lambda item: item.path)  # as they are collected by one
        slow = [item for item in items if item.get_closest_marker("engine") is not None]
        quick = [item for item in items if item.get_closest_marker("engine") is None]
        quick.sort(key=lambda item: SERVERS.isdisjoint(item.fixturenames))  # type: ignore[attr-defined]  # a function's test
        ordered: list[pytest.Item] = []
        for worker in range(workers):
            share = slice(
                len(slow) * worker // (workers - 1),
                len(slow) * (worker + 1) // (workers - 1),
            )
            ordered += slow[share]
            rest = len(quick) - max(
                0, len(items) * (worker + 1) // workers - len(ordered)
            )
            ordered += quick[rest:]
            del quick[rest:]
        items[:] = ordered


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def bounded(report: Report) -> Report:
    """A skipped test, or a module of them, fails where the machine has to have all but what is named."""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        problem = refusal(reason, os.environ)
        if problem is not None:
            report.outcome = "failed"
            report.longrepr = problem
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    return bounded((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    return bounded((yield))


def forks_for(config: pytest.Config) -> dict[str, str]:
    """Started once, and until the end, which may be that of all workers."""
    if FORKS not in config.stash:
        with ExitStack() as stack:
            # Not pytest's folder, whose path may be too long for a socket.
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            config.stash[FORKS] = stack.enter_context(preloaded(Path(folder)))
            config.add_cleanup(stack.pop_all().close)
    return config.stash[FORKS]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["forks"] = forks_for(node.config)


@pytest.fixture(scope="session")
def forks(pytestconfig: pytest.Config) -> dict[str, str]:
    """What is in the environment of processes that may be forks of a Python that has loaded its libraries."""
    return getattr(pytestconfig, "workerinput", {}).get("forks") or forks_for(
        pytestconfig
    )


def pytest_collection_finish() -> None:
    """What six thousand tests and their modules take stays to the end: let the collector not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Server]:
    """A server of this machine; without one the tests that need it fail."""
    with servers.served("postgres") as server:
        yield server


@pytest.fixture
def server(
    postgres_server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> servers.Server:
    """The server, with its programs and its password in the environment of the test."""
    for name, value in postgres_server.environment.items():
        monkeypatch.setenv(name, value)
    return postgres_server


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def _served(name: str, *arguments: str) -> Iterator[servers.Server]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(servers.served(name, *arguments))
        except engine.Missing as reason:
            lacks(name, str(reason))
        yield server


@pytest.fixture(scope="session")
def mariadb(tls: Certificates) -> Iterator[servers.Server]:
    yield from _served("mariadb", tls.server, tls.authority)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Server]:
    yield from _served("redis")


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """Object stores of this machine by name, with what other tests have put into their own buckets."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def ferretdb() -> Iterator[servers.Server]:
    """A server of this machine that speaks MongoDB's protocol."""
    yield from _served("ferretdb")
