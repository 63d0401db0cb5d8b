"""`make bench-fleet`: how fast a fleet's snapshots are taken, and by whom.

Writes bench/fleets.md and docs/fleet.svg.

Virtual time, except for one run of a real engine, which shows that the simulation and the real
thing agree.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench.fleet_peers import Peer, until_it_works
from bench.measures import say, table
from tests.simulation.fleet import PARALLEL, Client, Measure, limit_of, measure, ours
from tests.support.plugin_servicer import NAMES, renamed
from tools.engine import ensure
from tools.sandbox import Emulator, Stack

CLIENTS = (
    ours("this provider"),
    Client(
        "naive dynamic provider",
        lambda at: until_it_works(Peer(at.fleet).naive, at.fleet),
        4,
    ),
    Client(
        "SDK, one after the other",
        lambda at: until_it_works(Peer(at.fleet).example, at.fleet),
        1,
    ),
    Client(
        "SDK, 16 threads",
        lambda at: until_it_works(Peer(at.fleet).example, at.fleet),
        16,
    ),
)
PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "bench" / "fleets.md"
PICTURE = PROJECT / "docs" / "fleet.svg"
SIZES = (50,)
WORLDS = ("invalidated", "kept")
SEEDS = (1, 2, 3, 4, 5)
AIMS = {24: (1.08, 1.8), 50: (1.10, 2.0), 200: (1.05, 2.1)}
"""By databases, if new snapshots end the cache: over the limit, and requests per snapshot."""
KEPT_AIMS = {24: 1.08}
"""By databases, if pages are kept: over the limit."""
WHY_NO_REQUESTS = """
If pages are kept there is no aim for the requests: a page shows a snapshot only if its first poll
comes after the snapshot is ready.
"""
PICTURED = 50
BUCKET_TAKES = 0.05
"""Seconds of a request to a bucket."""
WRITES_OF_POST = 4

REALITY = "## A real engine"
TOO_MANY = 429
REAL = 40
REAL_PLUGIN = 50
REAL_AIM = 1.05
REAL_DEADLINE = 3.0
REAL_SETTINGS: dict[str, Any] = {"first_poll_after": 10.0, "poll_every": 5.0}
REAL_PROGRAM = """
import json
from {package} import Snapshot

for number, database in enumerate(json.load(open("databases.json"))):
    Snapshot(f"s{{number}}", database_id=database)
"""
REAL_RUNS = (
    ("real engine, dynamic provider", "pulumi_snapshots", REAL),
    ("real engine, plugin", "pulumi_snapshots.plugin", REAL),
    ("simulation", None, REAL),
    ("real engine, plugin", "pulumi_snapshots.plugin", REAL_PLUGIN),
    ("simulation", None, REAL_PLUGIN),
)
"""Who takes how many; without a package in virtual time."""
"""The module that the program imports from, by way to the engine."""
PLUGIN_FOLDER = json.dumps(str(Path(sys.executable).parent))
REAL_PROJECT = f"""name: fleet
runtime: python
plugins: {{providers: [{{name: squarecloud, path: {PLUGIN_FOLDER}}}]}}
"""

INTRODUCTION = f"""# Fleet benchmark

How fast snapshots of many databases are taken, by this provider and by others. Written by `make
bench-fleet`. For how to take them see [Many databases](../docs/snapshot.md#many-databases).

**The standard scenario.** Every POST ends in a 202 after 90 s, and its snapshot is ready 20 to 150
s later, drawn from a seed. The account may send 30 requests a minute; this provider leaves three of
them to others. The *limit* is the theoretical minimum: the service takes a POST every 5 s, and the
last snapshot must become ready. All times are virtual.

**The clients.** This provider at `--parallel {PARALLEL}`. A naive dynamic provider: POST, then poll
every 10 s until any entry is newer than the POST, four at a time. The vendor's Python SDK 5.0.0 as
its `examples/snapshots.py` uses it, one database after the other, or in 16 threads. After a 429
both run again for that database after a minute (`KEEP_CALM`) or half an hour (`RATE_LIMITED`).

*Blocked* is how many seconds the account was blocked; *wrong* counts databases that got a version
which their POST did not start; *lost* counts snapshots that used quota and that no client received.
"""


def main() -> int:
    """Measure everything and write the page.

    `real` as argument: only the last section, `simulated`: all others.
    """
    before, _, after = PAGE.read_text().partition(f"\n{REALITY}")
    if sys.argv[1:] == ["real"]:
        PAGE.write_text("\n".join([before, *reality()]))
        return 0
    sections = [INTRODUCTION, *comparison(), *aims(), *shared_state()]
    real = [f"{REALITY}{after}"] if sys.argv[1:] == ["simulated"] else reality()
    PAGE.write_text("\n".join([*sections, *real]))
    PICTURE.write_text(picture())
    return 0


def comparison() -> Iterator[str]:
    """Everybody against everybody, in every world."""
    head = (
        "databases",
        "client",
        "makespan, s",
        "over the limit",
        "requests per snapshot",
        "429s",
        "blocked, s",
        "wrong",
        "lost",
    )
    for cache_world in WORLDS:
        # If pages are kept, an automatic snapshot changes nothing.
        for automatic in (False, True) if cache_world == "invalidated" else (False,):
            what = (
                "an automatic snapshot of each database while its own is pending"
                if automatic
                else "no other snapshots"
            )
            yield f"## Cache {cache_world}, {what}\n"
            rows = []
            for size in SIZES:
                for client in CLIENTS:
                    say(
                        f"{size} databases, cache {cache_world}, automatic {automatic}: "
                        f"{client.name}"
                    )
                    rows.append(
                        compared(
                            measure(
                                client,
                                size,
                                cache_world=cache_world,
                                automatic=automatic,
                            )
                        )
                    )
            yield table(head, rows)


BLOCKS = {"list account": 300.0}
BLOCK = 1800.0
"""Seconds that a block lasts: for the kinds of requests in `BLOCKS`, and for all others."""


def blocked_seconds(one: Measure) -> float:
    """Seconds in which the account was blocked, from its answers."""
    total = until = 0.0
    for entry in one.journal:
        if entry.code == "RATE_LIMITED" and entry.monotonic >= until:
            until = entry.monotonic + BLOCKS.get(entry.kind, BLOCK)
            total += max(0.0, min(until, one.makespan) - entry.monotonic)
    return total


def tracks(one: Measure) -> list[tuple[float, float, float, float]]:
    """Return the times of each database's last POST, in order.

    Sent, answered, snapshot ready, and with the client.
    """
    found = []
    for posts, seconds, done in zip(one.accepted, one.durations, one.done, strict=True):
        for last in posts[-1:]:
            took = (
                (last.answered_at - last.at).total_seconds()
                if last.answered_at
                else 0.0
            )
            at = done[0] if done else one.makespan
            found.append(
                (last.monotonic, last.monotonic + took, last.monotonic + seconds, at)
            )
    return sorted(found)


def compared(one: Measure) -> list[object]:
    """A row of the comparison."""
    done = not one.unfinished
    return [
        one.databases,
        one.client,
        f"{one.makespan:.0f}" if done else f"not in a week ({one.unfinished} left)",
        f"x {one.makespan / one.limit:.2f}" if done else "",
        f"{one.requests_per_snapshot:.2f}",
        one.refused,
        f"{blocked_seconds(one):.0f}",
        one.wrong,
        one.lost,
    ]


def aims() -> Iterator[str]:
    """The promises, over several seeds."""
    yield "## Aims\n"
    yield f"Everywhere: no 429, no wrong version, none lost. Worst of {len(SEEDS)} seeds.\n"
    rows = []
    for cache_world in WORLDS:
        for size, (ended, requests) in AIMS.items():
            over = ended if cache_world == "invalidated" else KEPT_AIMS.get(size)
            say(f"aims: {size} databases, cache {cache_world}")
            runs = [
                measure(
                    CLIENTS[0],
                    size,
                    seed=seed,
                    cache_world=cache_world,
                    automatic=bool(seed % 2),
                )
                for seed in SEEDS
            ]
            rows.append(
                [
                    cache_world,
                    size,
                    f"x {max(one.makespan / one.limit for one in runs):.3f}",
                    f"x {over:.2f}" if over else "",
                    f"{max(one.requests_per_snapshot for one in runs):.2f}",
                    f"{requests:g}" if cache_world == "invalidated" else "",
                    sum(
                        one.refused + one.wrong + one.lost + one.unfinished
                        for one in runs
                    ),
                ]
            )
    yield table(
        (
            "cache",
            "databases",
            "over the limit",
            "aim",
            "requests per snapshot",
            "aim",
            "429s, wrong and lost",
        ),
        rows,
    )
    yield WHY_NO_REQUESTS


def shared_state() -> Iterator[str]:
    """How often the ledger in a bucket is written."""
    yield "## The ledger in a bucket\n"
    yield (
        f"Each request to the bucket takes {BUCKET_TAKES * 1000:.0f} ms. A POST costs four "
        f"writes: it is claimed, it leaves, it is "
        "answered, and its snapshot is found. The other writes are for reads.\n"
    )
    rows = []
    for machines in (1, 2):
        say(f"shared state: {machines} machines")
        clocks = [timedelta(hours=number) for number in range(machines)]
        one = measure(CLIENTS[0], PICTURED, machines=clocks, delay=BUCKET_TAKES)
        posts = sum(one.posts)
        rows.append(
            [
                machines,
                one.databases,
                f"{one.makespan:.0f}",
                posts,
                len(one.journal) - posts,
                one.ledger_writes,
                one.ledger_writes - WRITES_OF_POST * posts,
            ]
        )
    yield table(
        (
            "machines",
            "databases",
            "makespan, s",
            "POSTs",
            "reads",
            "writes",
            "of these for reads",
        ),
        rows,
    )


# The real engine


def reality() -> Iterator[str]:
    """One fleet at a real engine, and the same one simulated."""
    yield f"{REALITY}\n"
    yield (
        f"As many snapshots with `pulumi up --parallel {PARALLEL}` against the emulator on "
        f"a real socket, and the same in virtual time, with "
        f"short snapshots: a 202 after {REAL_DEADLINE:.0f} s, ready 2 to 10 s later, the "
        f"first poll after "
        f"{REAL_SETTINGS['first_poll_after']:.0f} s, polls every "
        f"{REAL_SETTINGS['poll_every']:.0f} s. The makespan counts from the first POST. "
        f"Aim for the plugin at {REAL_PLUGIN} if new snapshots end the cache: at most "
        f"{REAL_AIM:.2f} x the limit.\n"
    )
    chance = random.Random("the real fleet")  # noqa: S311  repeatable, no secret
    durations = [
        REAL_DEADLINE + chance.uniform(2, 10)
        for _ in range(max(size for *_, size in REAL_RUNS))
    ]
    rows = []
    for cache_world in WORLDS:
        for who, package, size in REAL_RUNS:
            say(f"{size} snapshots, {who}, cache {cache_world}")
            one = (
                real_run(durations[:size], cache_world, package)
                if package
                else simulated_run(durations[:size], cache_world)
            )
            kinds = [
                one.requests[kind] for kind in ("create", "list", "list account", "429")
            ]
            rows.append(
                [
                    cache_world,
                    who,
                    *kinds,
                    f"{one.makespan:.1f}",
                    f"x {one.makespan / one.limit:.3f}",
                    one.wrong,
                ]
            )
    yield table(
        (
            "cache",
            "run",
            "POSTs",
            "polls",
            "polls of the account",
            "429s",
            "makespan, s",
            "over the limit",
            "wrong",
        ),
        rows,
    )


class RealRun(NamedTuple):
    """A fleet that was taken.

    Attributes:
        requests: how many of each kind; those refused with a 429 are also counted as `429`.
        makespan: seconds from the first POST.
        limit: the theoretical minimum in seconds.
        wrong: snapshots that are not of their own POST, and POSTs that are too many or too few.
    """

    requests: Counter[str]
    makespan: float
    limit: float
    wrong: int


def simulated_run(durations: list[float], cache_world: str) -> RealRun:
    """In virtual time."""
    one = measure(
        ours("this provider", **REAL_SETTINGS),
        len(durations),
        durations=durations,
        cache_world=cache_world,
        soft_deadline_seconds=REAL_DEADLINE,
    )
    return RealRun(
        Counter({**Counter(entry.kind for entry in one.journal), "429": one.refused}),
        one.makespan,
        one.limit,
        one.wrong + one.lost,
    )


def real_project(folder: Path, databases: list[str], package: str) -> Path:
    """Write the program that takes a snapshot of each database."""
    project = folder / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text(REAL_PROJECT)
    (project / "__main__.py").write_text(REAL_PROGRAM.format(package=package))
    (project / "databases.json").write_text(json.dumps(databases))
    return project


def real_run(durations: list[float], cache_world: str, package: str) -> RealRun:
    """With the engine, on sockets."""
    engine = ensure(os.environ)
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-fleet-") as name:
        folder = Path(name)
        options = (
            f"--soft-deadline={REAL_DEADLINE}",
            f"--cache-world={cache_world}",
            "--memory=25600",
            "--no-automatic",
            "--requests-per-minute=30",
        )
        with Emulator(*options, log=folder / "emulator.log") as emulator:
            databases = [f"{number + 1:032x}" for number in range(len(durations))]
            for database, seconds in zip(databases, durations, strict=True):
                emulator.control(
                    "databases", {"id": database, "snapshot_seconds": seconds}
                )
            project = real_project(folder, databases, package)
            environment = {
                **emulator.environment,
                "SQUARECLOUD_FIRST_POLL_AFTER": str(REAL_SETTINGS["first_poll_after"]),
                "SQUARECLOUD_POLL_EVERY": str(REAL_SETTINGS["poll_every"]),
            }
            (folder / "stack").mkdir()
            stack = Stack(folder / "stack", project, engine, environment)
            stack.run("stack", "init", stack.name)
            stack.run(
                "up",
                "--yes",
                "--skip-preview",
                "--parallel",
                str(PARALLEL),
                timeout=3600,
            )
            ended = time.monotonic()
            journal = emulator.journal()
            states = (
                renamed(one.get("outputs", {}), NAMES) for one in stack.resources()
            )
            found = {
                one["database_id"]: one["version_id"]
                for one in states
                if "version_id" in one
            }
    took = dict(zip(databases, durations, strict=True))
    return summed(journal, took, found, ended)


def summed(
    journal: list[dict[str, Any]],
    took: dict[str, float],
    found: dict[str, str],
    ended: float,
) -> RealRun:
    """Sum up a real run.

    Args:
        journal: What the emulator was asked.
        took: The seconds of a snapshot of each database.
        found: The version in the state of each database.
        ended: When the run ended, in monotonic seconds.
    """
    posts = [one for one in journal if one["accepted"]]
    wrong = abs(len(took) - len(posts))
    wrong += sum(found.get(one["database_id"]) != one["version_id"] for one in posts)
    begin = min(one["monotonic"] for one in posts)
    requests = Counter(str(one["kind"]) for one in journal)
    requests["429"] = sum(one["status"] == TOO_MANY for one in journal)
    limit = limit_of([took[one["database_id"]] for one in posts])
    return RealRun(requests, ended - begin, limit, wrong)


# The picture

WIDTH = 960.0
LEFT = 10.0
ROW = 4.0
GAP = 44.0
COLOURS = {
    "queued": "#d5d9df",
    "POST open": "#e0a030",
    "pending": "#5b8fd0",
    "ready, not found yet": "#b03a48",
}
PAPER = "#ffffff"
DARK = (
    "<style>@media (prefers-color-scheme: dark) { text { fill: #e0e0e0 } line { stroke: #e0e0e0 } "
    f'rect[fill="{PAPER}"] {{ fill: #1a1c1e }} rect[fill="{COLOURS["queued"]}"] {{ fill: '
    f"#3d434b }} }}</style>"
)
"""A picture is drawn apart from its page, so it follows the reader's system and not the page's own
switch.
"""


def picture() -> str:
    """A panel for each of some clients, a row for each database."""
    panels = [(client, measure(client, PICTURED)) for client in CLIENTS[:2]]
    panels.append(
        (
            ours("this provider, cache kept"),
            measure(CLIENTS[0], PICTURED, cache_world="kept"),
        )
    )
    end = max(one.makespan for _, one in panels)
    height = GAP * (len(panels) + 1) + ROW * PICTURED * len(panels)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
            f'font-family="sans-serif" font-size="13">'
        ),
        DARK,
        f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="{PAPER}"/>',
    ]
    x = LEFT
    for name, colour in COLOURS.items():
        lines.append(
            f'<rect x="{x:.0f}" y="10" width="14" height="12" fill="{colour}"/>'
        )
        lines.append(f'<text x="{x + 19:.0f}" y="21">{name}</text>')
        x += 60 + 7 * len(name)
    top = GAP
    scale = (WIDTH - 2 * LEFT) / end
    for client, one in panels:
        lines += panel(client.name, one, top, scale)
        top += GAP + ROW * PICTURED
        lines += axis(top - GAP / 2, end, scale)
    return "\n".join([*lines, "</svg>", ""])


def panel(name: str, one: Measure, top: float, scale: float) -> Iterable[str]:
    """The rows of one client, in the order of their POSTs."""
    text = (
        f"{name}: {one.databases} snapshots in {one.makespan:.0f} s, "
        f"{one.requests_per_snapshot:.1f} requests each"
    )
    yield f'<text x="{LEFT:.0f}" y="{top + 14:.0f}">{text}</text>'
    first = top + 22
    for number, (posted, answered, ready, done) in enumerate(tracks(one)):
        moments = (0.0, posted, answered, min(ready, done), done)
        for begin, end, colour in zip(
            moments, moments[1:], COLOURS.values(), strict=False
        ):
            if end > begin:
                yield (
                    f'<rect x="{LEFT + begin * scale:.1f}" y="{first + number * ROW:.1f}" '
                    f'width="{(end - begin) * scale:.1f}" height="{ROW - 0.5:.1f}" '
                    f'fill="{colour}"/>'
                )
    x = LEFT + one.limit * scale
    bottom = first + one.databases * ROW
    yield (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{first:.0f}" y2="{bottom:.0f}" stroke="#000000" '
        f'stroke-dasharray="3 2"/>'
    )
    yield f'<text x="{x + 4:.1f}" y="{bottom - 4:.0f}">limit {one.limit:.0f} s</text>'


def axis(y: float, end: float, scale: float) -> Iterable[str]:
    """A line with a mark every five minutes, below the rows of a client.

    Args:
        y: The line's place.
        end: The seconds at the right end.
        scale: Points in a second.
    """
    yield (
        f'<line x1="{LEFT:.0f}" x2="{LEFT + end * scale:.0f}" y1="{y:.0f}" y2="{y:.0f}" '
        f'stroke="#000000"/>'
    )
    for minutes in range(0, int(end / 60) + 1, 5):
        x = LEFT + minutes * 60 * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.0f}" y2="{y + 4:.0f}" stroke="#000000"/>'
        text = f"{minutes} min" if minutes else "0"
        yield f'<text x="{x:.1f}" y="{y + 14:.0f}" font-size="10">{text}</text>'


if __name__ == "__main__":
    sys.exit(main())
