"""`make bench`: what the project promises about speed, measured; ratios come from one run.

Writes bench/measures.md.

Nothing here is a test: the machine decides about seconds, so read medians and ratios. `python -m
bench.measures archives` measures one part, and leaves the rest of the page as it is.
"""

import asyncio
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import obstore
import pyrage
from pulumi.runtime.proto import provider_pb2

from bench.first_answer import Answer, answers, first_answer
from bench.first_drill import first_drill
from bench.tables import counted_tables
from pulumi_snapshots.archive.listed import list_archives
from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.storage.buckets import Buckets
from pulumi_snapshots.storage.destination import Destination
from squarecloud_emulator import Fault
from tests.archive.real import Host, hosted, outcome, start
from tests.support.object_stores import ObjectStore, serving
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import _struct
from tests.support.unreliable import unreliable
from tests.support.virtual import run_virtual
from tests.support.world import world
from tools import dist
from tools.engine import ensure
from tools.sandbox import Emulator, Stack

PROJECT = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.executable).parent / "pulumi-resource-squarecloud"
PAGE = PROJECT / "bench" / "measures.md"
IMPORT_RUNS = 15
UP_RUNS = 9
ARCHIVE_STARTS = 15
ARCHIVE_RUNS = 5
ARCHIVE_SIZE = 1024**3
LINE_RUNS = 2
GIGABIT = 10**9 / 8
"""Bytes a second of a fast line."""
BUCKET_RUNS = 3
BUCKET_SIZE = 256 * 1024**2
SHELVED = 10_000
LATENCY = 0.05
"""Seconds that the store takes for each request."""
RESOURCES = 200
PLUGIN_RESOURCES = 100
LISTED = 500
STORIES = 500

PLAIN_RESOURCES = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Nothing(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        return CreateResult("nothing", dict(props))


class Plain(Resource):
    def __init__(self, name, database_id, triggers, reuse_within):
        inputs = {
            "database_id": database_id,
            "triggers": triggers,
            "reuse_within": reuse_within,
        }
        super().__init__(Nothing(), name, inputs)
"""
OTHER_OUTPUTS = 12
"""What a Snapshot has beside `database_id` and `triggers`."""
ALIKE = PLAIN_RESOURCES.replace(
    "        inputs = {",
    f"        inputs = dict.fromkeys([f'o{{n}}' for n in range({OTHER_OUTPUTS})], 'text') | {{",
)
"""Plain resources with as many outputs as a Snapshot: the SDK needs time for each."""
SNAPSHOTS = "from pulumi_snapshots import Snapshot as Plain\n"
MINIMAL = """
import pulumi


class Plain(pulumi.CustomResource):
    def __init__(self, name, database_id, triggers, reuse_within):
        inputs = {
            "databaseId": database_id,
            "triggers": triggers,
            "reuseWithin": reuse_within,
        }
        super().__init__("minimal:index:Plain", name, inputs)
"""
BY_PLUGIN = "from pulumi_snapshots.plugin import Snapshot as Plain\n"
PROGRAM = """
for number in range(RESOURCES):
    Plain(f"s{number}", database_id=f"{number:032x}", triggers=["v1"], reuse_within="1d")
"""


def main() -> int:
    """Measure everything, or the parts that are named, and write the page."""
    wanted = set(sys.argv[1:]) or PARTS.keys()
    if unknown := wanted - PARTS.keys():
        say(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 2
    before = PAGE.read_text().split("\n\n") if PAGE.exists() else []
    tables = []
    for name, part in PARTS.items():
        if name in wanted:
            say(part.what)
            tables.append(
                "\n".join(filter(None, (table(part.head, part.measure()), part.note)))
            )
        else:
            kept = [
                at
                for at, text in enumerate(before)
                if text.startswith(f"| {part.head[0]} |")
            ]
            tables += [
                "\n\n".join(before[at : at + (2 if part.note else 1)]).rstrip() + "\n"
                for at in kept
            ]
    head = (
        "# Measures\n\nWritten by `make bench`. Seconds depend on the machine; requests, "
        "virtual seconds and ratios do not.\n"
    )
    page = "\n".join([head, *tables])
    PAGE.write_text(page)
    print(page)
    return 0


@dataclass(frozen=True)
class Part:
    """One table of the page."""

    what: str
    head: tuple[str, ...]
    measure: Callable[[], Iterable[Iterable[object]]]
    note: str = ""


def say(what: str) -> None:
    """Progress, apart from the result."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def one_snapshot() -> Iterable[list[object]]:
    """Requests and virtual seconds of one create on each path."""
    lost = Fault(kind="create", when="after", drop=True)
    paths = {
        "200, ready after 30 s": (30.0, None),
        "202, ready after 150 s": (150.0, None),
        "202, ready after 300 s": (300.0, None),
        "answer lost at once, ready after 150 s": (150.0, lost),
    }
    for cache_world in ("invalidated", "kept"):
        for name, (seconds, fault) in paths.items():

            async def run(
                seconds: float = seconds,
                fault: Fault | None = fault,
                cache: str = cache_world,
            ) -> list[object]:
                async with world(snapshot_seconds=seconds, cache_world=cache) as here:
                    if fault is not None:
                        here.emulator.add_fault(
                            Fault(kind="create", when="after", drop=True)
                        )
                    begin = here.clock.monotonic()
                    record = await create(here.session, here.inputs(), here.row)
                    if record.version_id != here.started():
                        raise AssertionError("a wrong version was found")
                    others = (
                        len(here.emulator.journal)
                        - len(here.posts)
                        - len(here.listings)
                    )
                    return [
                        len(here.posts),
                        len(here.listings),
                        others,
                        f"{here.clock.monotonic() - begin:.0f}",
                    ]

            yield [f"{name}; cache {cache_world}", *run_virtual(run)]


def imports() -> Iterable[list[object]]:
    """Import time alone, in turns, so that a machine whose speed drifts treats them alike."""
    programs = {
        "pulumi": "import pulumi",
        "pulumi and pulumi_snapshots": "import pulumi, pulumi_snapshots",
    }
    runs: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(IMPORT_RUNS):
        for name, program in programs.items():
            timed = (
                f"import time; begin = time.perf_counter(); {program}; "
                f"print(time.perf_counter() - begin)"
            )
            runs[name].append(
                float(subprocess.check_output([sys.executable, "-c", timed], text=True))  # noqa: S603
                * 1000
            )
    for name, times in runs.items():
        yield [name, *spread(times)]
    added = [both - alone for alone, both in zip(*runs.values(), strict=True)]
    yield ["added by pulumi_snapshots (aim: 25)", *spread(added)]


def no_op_up() -> Iterable[list[object]]:
    """An `up` without changes of many snapshots against as many resources that do nothing."""
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name:
        definitions = {
            "plain": (PLAIN_RESOURCES, None),
            "plain, with as many outputs": (ALIKE, None),
            "snapshots": (SNAPSHOTS, None),
        }
        yield from unchanged(
            Path(name), definitions, RESOURCES, ("plain dynamic resources", "1.15")
        )


def plugin_up() -> Iterable[list[object]]:
    """An `up` without changes of the plugin's snapshots against a minimal provider's resources."""
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name:
        minimal = minimal_provider(Path(name) / "minimal").parent
        plain = (MINIMAL, ("minimal", minimal))
        ours = (BY_PLUGIN, ("squarecloud", INSTALLED.parent))
        definitions = {"plain": plain, "snapshots": ours}
        yield from unchanged(
            Path(name),
            definitions,
            PLUGIN_RESOURCES,
            ("a minimal provider's resources", "1.2"),
        )


def unchanged(
    folder: Path,
    definitions: Mapping[str, tuple[str, tuple[str, Path] | None]],
    count: int,
    told: tuple[str, str],
) -> Iterable[list[object]]:
    """The rows of such a pair; `told` is the name of the plain resources, and the aim."""
    engine = ensure(os.environ)
    with Emulator(
        "--requests-per-minute", "100000", log=folder / "emulator.log"
    ) as emulator:
        fill(emulator, count)
        environment = {
            **emulator.environment,
            "SQUARECLOUD_REQUESTS_PER_MINUTE": "100000",
        }
        stacks = {
            what: made_stack(
                folder / what, definition, engine, environment, count, plugin
            )
            for what, (definition, plugin) in definitions.items()
        }
        before = len(emulator.journal())
        runs = in_turns(stacks)
        requests = len(emulator.journal()) - before
    yield [told[0], 0, *spread(runs["plain"], digits=2)]
    snapshots = runs.pop("snapshots")
    yield ["snapshots", requests, *spread(snapshots, digits=2)]
    yield [
        f"ratio, pair by pair (aim: {told[1]})",
        "",
        *ratios(snapshots, runs.pop("plain")),
    ]
    for other, seconds in runs.items():
        yield [f"ratio to {other}", "", *ratios(snapshots, seconds)]


def installed_plugin() -> Iterable[list[object]]:
    """How soon the plugin of a Python environment answers, and what it takes while it waits.

    Beside a minimal provider.
    """
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name:
        programs = {
            "the plugin": INSTALLED,
            "a minimal provider": minimal_provider(Path(name) / "minimal"),
        }
        found: dict[str, list[Answer]] = {what: [] for what in programs}
        for _ in range(ARCHIVE_STARTS):
            for what, program in programs.items():
                found[what].append(first_answer(program))
    for what, each in found.items():
        aim = " (aim: 1)" if what == "the plugin" else ""
        yield [
            f"{what}: seconds to the first answer{aim}",
            *spread([one.seconds for one in each], 2),
        ]
        yield [
            f"{what}: MiB of memory, idle",
            *spread([(one.idle_bytes or 0) / 2**20 for one in each], 0),
        ]


def lists() -> Iterable[list[object]]:
    """The requests of `List`."""
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name:
        folder = Path(name)
        with Emulator(
            "--requests-per-minute", "100000", log=folder / "emulator.log"
        ) as emulator:
            fill(emulator, 1, LISTED)
            for what, query in (
                ("of a database", {"databaseId": f"{0:032x}"}),
                ("of the account", {}),
            ):
                environment = {
                    **emulator.environment,
                    "XDG_STATE_HOME": str(folder / what),
                }
                with PluginServicer(SnapshotProvider(), env=environment) as plugin:
                    before = len(emulator.journal())
                    request = provider_pb2.ListRequest(
                        token="squarecloud:index:Snapshot",  # noqa: S106
                        query=_struct(query),
                    )
                    begun = time.perf_counter()
                    count = sum(
                        each.HasField("result")
                        for each in plugin._stub.List(request)  # noqa: SLF001  no face of its own
                    )
                    seconds = time.perf_counter() - begun
                    yield [
                        what,
                        count,
                        len(emulator.journal()) - before,
                        f"{seconds:.2f}",
                    ]


def fill(emulator: Emulator, databases: int, snapshots: int = 1) -> None:
    """Add databases with snapshots each."""
    for number in range(databases):
        database = f"{number:032x}"
        emulator.control("databases", {"id": database})
        for _ in range(snapshots):
            emulator.control("snapshots", {"database_id": database, "origin": "manual"})


def minimal_provider(folder: Path) -> Path:
    """The program of a provider that does nothing."""
    folder.mkdir()
    program = folder / "pulumi-resource-minimal"
    # As a Python environment starts the plugin: in isolation, with its own interpreter.
    program.write_text(
        f"#!/bin/sh\ncd {PROJECT} && exec {sys.executable} -m bench.minimal_provider\n"
    )
    program.chmod(0o755)
    return program


def in_turns(stacks: Mapping[str, Stack]) -> dict[str, list[float]]:
    """The seconds of an `up` without changes of each stack, in turns."""
    runs: dict[str, list[float]] = {what: [] for what in stacks}
    for _ in range(UP_RUNS):
        for what, stack in stacks.items():
            runs[what].append(seconds_of(lambda stack=stack: unchanged_up(stack)))  # type: ignore[misc]
    return runs


def made_stack(  # noqa: PLR0913, PLR0917  what differs between stacks
    folder: Path,
    definition: str,
    engine: Path,
    environment: dict[str, str],
    count: int,
    plugin: tuple[str, Path] | None,
) -> Stack:
    """A stack whose resources exist; with a plugin of this name in this folder."""
    (folder / "project").mkdir(parents=True)
    (folder / "stack").mkdir()
    found = (
        "plugins:\n  providers:\n    - name: {}\n      path: {}\n".format(*plugin)
        if plugin
        else ""
    )
    (folder / "project" / "Pulumi.yaml").write_text(
        f"name: bench\nruntime: python\n{found}"
    )
    (folder / "project" / "__main__.py").write_text(
        definition + PROGRAM.replace("RESOURCES", str(count))
    )
    stack = Stack(folder / "stack", folder / "project", engine, environment)
    stack.run("stack", "init", stack.name)
    stack.run("up", "--yes", "--skip-preview", timeout=600)
    return stack


def unchanged_up(stack: Stack) -> None:
    """An `up` that must find nothing to do."""
    stack.run("up", "--yes", "--skip-preview", "--expect-no-changes", timeout=600)


def plugin_archive() -> Iterable[list[object]]:
    """The plugin's archive: its size, how soon it answers, and what it takes while it waits."""
    with tempfile.TemporaryDirectory() as folder:
        archive, _ = dist.plugin(os.environ, Path(folder))
        found = answers(archive, ARCHIVE_STARTS)
        yield ["MB, packed (aim: 40)", f"{archive.stat().st_size / 1e6:.1f}", "", ""]
    yield [
        "seconds to the first answer (aim: 1)",
        *spread([each.seconds for each in found], 2),
    ]
    yield [
        "MiB of memory, idle",
        *spread([(each.idle_bytes or 0) / 2**20 for each in found], 0),
    ]


def simulation() -> Iterable[list[object]]:
    """The random stories of the tests."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "tests/simulation/test_stories.py",
        "-k",
        "no_story",
    ]
    environment = {**os.environ, "STORIES": str(STORIES)}
    before = processor_seconds()
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=sys.stderr)  # noqa: S603
    seconds = processor_seconds() - before
    yield [
        f"random stories of several runs, {60 * STORIES / seconds:.0f} a minute of one core",
        STORIES,
        f"{seconds:.0f}",
    ]


def archives() -> Iterable[list[object]]:
    """One pass of an Archive against what does the same by hand in two.

    In turns, from one host on this machine.
    """
    by_hand: dict[tuple[str, ...], list[float]] = {
        ("openssl", "dgst", "-sha256", "-r"): [],
        ("sha256sum",): [],
    }
    memory: list[float] = []

    def at_hand(host: Host, file: Path) -> None:
        for digest, seconds in by_hand.items():
            seconds.append(seconds_of(partial(fetched, host, file, digest)))

    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name:
        file = Path(name) / "x.zip"
        with hosted(ARCHIVE_SIZE) as host:
            ours, sealed = both(
                host, str(file), ARCHIVE_RUNS, memory, lambda: at_hand(host, file)
            )
        with hosted(ARCHIVE_SIZE // 2, GIGABIT) as host:
            slow, slow_sealed = both(host, str(file), LINE_RUNS, memory)
    for digest, seconds in by_hand.items():
        yield [
            f"`curl` to a file, then `{' '.join(digest)}`",
            *spread(seconds, digits=2),
            "",
        ]
    yield [
        "Archive to a file, flushed to the disk (memory, aim: 64)",
        *spread(ours, digits=2),
        f"{max(memory):.0f}",
    ]
    for digest, seconds in by_hand.items():
        yield [
            f"speed over that by hand with `{digest[0]}`, pair by pair",
            *ratios(seconds, ours),
            "",
        ]
    yield ["the same Archive, encrypted with age", *spread(sealed, digits=2), ""]
    yield ["its speed over the plain one, pair by pair", *ratios(ours, sealed), ""]
    yield [
        "the same for half as much from a host at 1 Gbit/s",
        *ratios(slow, slow_sealed),
        "",
    ]


def buckets() -> Iterable[list[object]]:
    """An Archive to S3 against `curl`, `openssl` and an upload, as people do it by hand."""
    memory: list[float] = []
    by_hand: dict[str, list[float]] = {"s3cmd": [], "aws": []}
    with (
        tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name,
        serving("versity") as server,
        hosted(BUCKET_SIZE) as host,
    ):
        server.make_bucket("bench")
        programs = installed(Path(name) / "programs", ("s3cmd", "awscli")).parent
        file = Path(name) / "x.zip"
        address = server.url.removeprefix("http://")
        keys = (
            "--access_key",
            "tests",
            "--secret_key",
            "tests-tests",
            "--region",
            "us-east-1",
            "--no-ssl",
        )
        uploads: dict[str, list[str | Path]] = {
            "s3cmd": [
                programs / "s3cmd",
                *keys,
                f"--host={address}",
                f"--host-bucket={address}",
                "put",
                file,
                "s3://bench/x",
            ],
            "aws": [programs / "aws", "s3", "cp", file, "s3://bench/x"],
        }

        def at_hand() -> None:
            for program, command in uploads.items():
                by_hand[program].append(
                    seconds_of(partial(stored, host, file, command, server))
                )

        ours, sealed = both(
            host, "s3://bench/x.zip", BUCKET_RUNS, memory, at_hand, server.environment
        )
    for program, seconds in by_hand.items():
        yield [
            f"`curl` to a file, `openssl`, then `{program}`",
            *spread(seconds, digits=2),
            "",
        ]
    yield ["Archive (memory, aim: 64)", *spread(ours, digits=2), f"{max(memory):.0f}"]
    for program, seconds in by_hand.items():
        yield [
            f"speed over that by hand with `{program}`, pair by pair (aim: 1 or more)",
            *ratios(seconds, ours),
            "",
        ]
    yield ["the same Archive, encrypted with age", *spread(sealed, digits=2), ""]
    yield ["its speed over the plain one, pair by pair", *ratios(ours, sealed), ""]


def listing() -> Iterable[list[object]]:
    """All archives of a slow bucket, listed and compared with their manifests."""
    content = b"an archive"
    about = Manifest.of(
        ArchiveRecord(
            "s3://b/x",
            len(content),
            hashlib.sha256(content).hexdigest(),
            archived_at="2026-11-01T00:00:00Z",
            database_id="d",
            version_id="v",
            mark="",
        ),
        None,
    )

    async def fill(bucket: Any) -> None:
        async def put(number: int) -> None:
            async with places:
                name = f"{number:05}.zip"
                await obstore.put_async(bucket, f"shop/{name}", content)
                await obstore.put_async(
                    bucket, f"shop/{name}.json", replace(about, object=name).text
                )

        places = anyio.Semaphore(32)
        async with anyio.create_task_group() as group:
            for number in range(SHELVED):
                group.start_soon(put, number)

    with serving("versity") as server, unreliable(server.url) as proxy:
        server.make_bucket("listed")
        with mock.patch.dict(os.environ, server.environment):
            asyncio.run(fill(Buckets().bucket("s3", "listed")[0]))
        proxy.fails = lambda _: time.sleep(LATENCY)
        with mock.patch.dict(os.environ, server.reached_at(proxy.url)):
            begin = time.perf_counter()
            found = anyio.run(
                list_archives, Transfers(), Destination.parse("s3://listed/shop/")
            )
            seconds = time.perf_counter() - begin
    if len(found) != SHELVED or any(each.problem for each in found):
        raise AssertionError("a wrong list was made")
    yield [
        f"{SHELVED} archives in a bucket, {LATENCY * 1000:.0f} ms a request",
        len(proxy.requests),
        f"{seconds:.1f}",
    ]


def both(  # noqa: PLR0913, PLR0917  what is measured, and beside what
    host: Host,
    target: str,
    runs: int,
    memory: list[float],
    beside: Callable[[], object] = bool,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[float], list[float]]:
    """The seconds of plain and encrypted archives, in turns with something else."""
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        beside()
        for seconds, place, recipients in zip(
            taken, (target, f"{target}.age"), ((), (recipient,)), strict=True
        ):
            done = outcome(
                start(host.url, place, recipients=recipients, environment=environment)
            )
            if host.sha256 not in {done["sha256"], done["plain_sha256"]}:
                raise AssertionError("a wrong archive was written")
            seconds.append(done["seconds"])
            memory.append(done["above_idle"])
            if "://" not in place:
                Path(place).unlink()
    return taken


def fetched(
    host: Host,
    file: Path,
    digest: tuple[str, ...] = ("openssl", "dgst", "-sha256", "-r"),
) -> None:
    """The two passes that an Archive saves."""
    # Whichever PATH has.
    subprocess.run(  # noqa: S603
        ["curl", "--fail", "--silent", "--output", file, host.url],  # noqa: S607
        check=True,
    )
    shown = subprocess.run(  # noqa: S603
        [*digest, file], check=True, capture_output=True, text=True
    ).stdout
    if not shown.startswith(host.sha256):
        raise AssertionError("a wrong file was downloaded")


def stored(
    host: Host, file: Path, command: list[str | Path], server: ObjectStore
) -> None:
    """The three passes that an Archive to a bucket saves."""
    fetched(host, file)
    environment = {**os.environ, **server.environment}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)  # noqa: S603


def ratios(ones: list[float], others: list[float]) -> list[str]:
    """How much faster the others are, pair by pair."""
    return spread(
        [one / other for one, other in zip(ones, others, strict=True)], digits=2
    )


def installed(folder: Path, packages: tuple[str, ...]) -> Path:
    """The Python of a new environment with these packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--quiet", "install", *packages], check=True)  # noqa: S603
    return python


def processor_seconds() -> float:
    """The time for which processes that have ended have kept a core busy."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def spread(values: list[float], digits: int = 1) -> list[str]:
    """Median, minimum and maximum."""
    return [
        f"{value:.{digits}f}"
        for value in (statistics.median(values), min(values), max(values))
    ]


PARTS = {
    "snapshot": Part(
        "one snapshot, virtual time",
        ("one snapshot", "POSTs", "polls", "other requests", "seconds (virtual)"),
        one_snapshot,
    ),
    "imports": Part(
        "imports", ("import, milliseconds", "median", "min", "max"), imports
    ),
    "up": Part(
        f"an `up` without changes of {RESOURCES} resources (takes a few minutes)",
        (
            f"`up` without changes, {RESOURCES} resources",
            "requests",
            "seconds",
            "min",
            "max",
        ),
        no_op_up,
    ),
    "plugin-up": Part(
        f"an `up` without changes of {PLUGIN_RESOURCES} resources by the plugin (takes a minute)",
        (
            f"`up` without changes, {PLUGIN_RESOURCES} resources of a plugin",
            "requests",
            "seconds",
            "min",
            "max",
        ),
        plugin_up,
        (
            "Both providers are Python processes with the same SDK. The minimal one answers "
            "each call at once with what it was given.\n"
        ),
    ),
    "plugin-process": Part(
        "the plugin's process",
        ("a plugin from a Python environment", "median", "min", "max"),
        installed_plugin,
    ),
    "list": Part(
        f"lists of {LISTED} snapshots",
        (f"`List` of {LISTED} snapshots", "found", "requests (aim: 2)", "seconds"),
        lists,
    ),
    "plugin": Part(
        "the plugin's archive",
        ("the plugin's archive, without Python", "median", "min", "max"),
        plugin_archive,
    ),
    "simulation": Part(
        f"{STORIES} random stories",
        ("simulation", "played", "seconds"),
        simulation,
    ),
    "archives": Part(
        f"archives of {ARCHIVE_SIZE >> 20} MiB",
        (
            f"archive of {ARCHIVE_SIZE >> 20} MiB",
            "seconds",
            "min",
            "max",
            "MiB above idle at most",
        ),
        archives,
        'Both download from one host on this machine. "By hand" means two processes one '
        "after the other. An Archive's time starts\n"
        "with its first request and ends when the file is on the disk under its name, "
        "which `curl` does not wait for. Memory is the\n"
        "process's peak, less what it had before.\n",
    ),
    "buckets": Part(
        f"archives of {BUCKET_SIZE >> 20} MiB to a bucket",
        (
            f"{BUCKET_SIZE >> 20} MiB to an S3 server on this machine",
            "seconds",
            "min",
            "max",
            "MiB above idle at most",
        ),
        buckets,
    ),
    "tables": Part(
        "tables of restored databases",
        (
            "`Check.tables()`",
            "tables",
            "rows",
            "estimated",
            "seconds (aim: 300)",
            "MiB above idle at most",
        ),
        counted_tables,
    ),
    "first drill": Part(
        "the first drill of a new user",
        ("from an empty folder until", "seconds"),
        first_drill,
        "The commands of [the how-to](../docs/howto/prove-a-backup.md), typed without a pause, "
        "at the emulator with a\nPostgreSQL server. 30 s of the last step are the pause before "
        "the restore is polled.\n",
    ),
    "listing": Part(
        f"a list of {SHELVED} archives",
        ("`squarecloud-snapshots archives`", "requests", "seconds (aim: 60)"),
        listing,
    ),
}
"""The page, table by table."""


if __name__ == "__main__":
    sys.exit(main())
