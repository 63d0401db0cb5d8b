"""`make bench-fleet`: how fast a fleet's snapshots are taken, and by whom. Writes docs/fleet-benchmark.md and docs/fleet.svg.

Virtual time, except for one run of a real engine, which shows that the simulation and the real thing agree.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulation.fleet import limit_of
from tests.simulation.fleet_measure import CLIENTS, PARALLEL, Measure, measure, ours
from tests.simulation.fleet_polls import POLICIES
from tests.support.plugin_servicer import NAMES, renamed
from tools.bench import say, table
from tools.engine import ensure
from tools.sandbox import Emulator, Stack

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "fleet-benchmark.md"
PICTURE = PROJECT / "docs" / "fleet.svg"
SIZES = (1, 10, 50, 200)
WORLDS = ("invalidated", "kept")
SEEDS = (1, 2, 3, 4, 5)
AIMS = {24: (1.08, 1.5), 50: (1.10, 2.0), 200: (1.05, 2.0)}
"""By databases, if new snapshots end the cache: over the limit, and requests per snapshot."""
KEPT_AIMS = {24: 1.08}
"""By databases, if pages are kept: over the limit."""
WHY_NO_REQUESTS = """
If pages are kept there is no aim for the requests, since 1.5 each would cost more than it saves. A database's page shows its
snapshot only if its first poll comes after the snapshot is ready, so each snapshot costs one poll beside its POST. Only the
account's page shows many at once, and only once in half an hour. With 1.5 requests each, half of the fleet would have to wait
for that one poll, which must come after the last of them is ready. Resources that wait for a slot of the engine would wait as
long, and those that come later would have no second chance. The first 24 snapshots do not show whether more follow:
so the account's page is kept for snapshots that their own pages missed.
"""
PICTURED = 50

REALITY = "## A real engine"
TOO_MANY = 429
REAL = 40
REAL_PLUGIN = 50
REAL_AIM = 1.05
REAL_DEADLINE = 3.0
REAL_SETTINGS: dict[str, Any] = {"first_look_after": 10.0, "look_every": 5.0}
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
REAL_PROJECT = f"""name: fleet
runtime: python
plugins: {{providers: [{{name: squarecloud, path: {json.dumps(str(Path(sys.executable).parent))}}}]}}
"""

INTRODUCTION = f"""# Fleet benchmark

How fast snapshots of many databases are taken, by this provider and by others. Written by `make bench-fleet`. For how to take
them see [Fleets](fleets.md).

**The standard scenario.** Every POST ends in a 202 after 90 s, and its snapshot is ready 20 to 150 s later, drawn from a
seed. The account may send 30 requests a minute, the smallest plan's budget; this provider leaves three of them to others.
The *limit* is the theoretical minimum: the service takes a POST every 5 s, and the last snapshot must become ready. All times
are virtual: client and emulator share one clock that jumps, so the numbers depend on neither the machine nor chance.

**The clients.** This provider at `--parallel {PARALLEL}`. A naive dynamic provider: POST, then poll every 10 s until any entry
is newer than the POST, four at a time, as many as a dynamic provider's process serves. The vendor's Python SDK 5.0.0 as its
`examples/snapshots.py` uses it: list, create, list every 30 s until a version is new; one database after the other, or in
16 threads. Naive provider and SDK block a thread while they wait and cannot run under a virtual clock, so their calls are made
in the same order on the same emulator. Both stop at a 429: they run again for that database after a minute (`KEEP_CALM`) or
half an hour (`RATE_LIMITED`). These pauses have no jitter, so the 16 threads come back in step and block the account again;
with luck, or staggered by hand, they would end some time.

Columns: *429s* counts those received; *blocked* is how many seconds the account was blocked; *wrong* counts databases that got
a version which their POST did not start; *lost* counts snapshots that used quota and that no client received.
"""


WAYS = """The same create with other ways to poll for what is pending. *The provider's* polls the account's listing for all at once, as
soon as one database's page, polled early and often, hints that pages are not kept; until then each other database's own page once, late.
*In turn* polls each database's own listing and the account's by turns, *own listing* and *account listing* one of the two every 30 s
from the 202 on; *no probe* is the provider's without the page that is polled early. See [How waiting works](waiting.md) for the reasons.
"""


def main() -> int:
    """Measure everything and write the page; with `real` as argument only its last section, with `simulated` all others."""
    before, _, after = PAGE.read_text().partition(f"\n{REALITY}")
    if sys.argv[1:] == ["real"]:
        PAGE.write_text("\n".join([before, *reality()]))
        return 0
    sections = [INTRODUCTION, *comparison(), *aims(), *parallelism(), *policies()]
    real = [f"{REALITY}{after}"] if sys.argv[1:] == ["simulated"] else reality()
    PAGE.write_text("\n".join([*sections, *real]))
    PICTURE.write_text(picture())
    print(PAGE.read_text())
    return 0


def comparison() -> Iterator[str]:
    """Everybody against everybody, in every world."""
    head = ("databases", "client", "makespan, s", "over the limit", "requests per snapshot", "429s", "blocked, s", "wrong", "lost")  # fmt: skip
    for cache_world in WORLDS:
        for automatic in (False, True):
            what = (
                "an automatic snapshot of each database while its own is pending" if automatic else "no other snapshots"
            )
            yield f"## Cache {cache_world}, {what}\n"
            rows = []
            for size in SIZES:
                for client in CLIENTS:
                    say(f"{size} databases, cache {cache_world}, automatic {automatic}: {client.name}")
                    rows.append(compared(measure(client, size, cache_world=cache_world, automatic=automatic)))
            yield table(head, rows)


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
        f"{one.blocked:.0f}",
        one.wrong,
        one.lost,
    ]


def aims() -> Iterator[str]:
    """The promises, over several seeds."""
    yield "## Aims\n"
    yield (
        "If new snapshots end the cache: a makespan of at most 1.08 x the limit at 24 databases, 1.10 x at 50 and 1.05 x at "
        "200, at most 1.5 requests per snapshot at 24 and 2 beyond. If pages are kept: at most 1.08 x at 24. Everywhere: no 429, "
        f"no wrong version, none lost. Worst of {len(SEEDS)} seeds.\n"
    )
    rows = []
    for cache_world in WORLDS:
        for size, (ended, requests) in AIMS.items():
            over = ended if cache_world == "invalidated" else KEPT_AIMS.get(size)
            say(f"aims: {size} databases, cache {cache_world}")
            runs = [
                measure(CLIENTS[0], size, seed=seed, cache_world=cache_world, automatic=bool(seed % 2))
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
                    sum(one.refused + one.wrong + one.lost + one.unfinished for one in runs),
                ]
            )
    yield table(
        ("cache", "databases", "over the limit", "aim", "requests per snapshot", "aim", "429s, wrong and lost"), rows
    )
    yield WHY_NO_REQUESTS


def parallelism() -> Iterator[str]:
    """What the engine's own limit costs."""
    yield "## The engine's parallelism\n"
    yield (
        "A snapshot takes one of the engine's slots until it is found. The engine has four slots for each core "
        f"of the machine unless `--parallel` or `PULUMI_PARALLEL` says otherwise; {PARALLEL} are enough for a POST every 5 s. "
        "The last column is the makespan over the limit of so many slots.\n"
    )
    rows = []
    for size in (50, 200):
        for parallel in (8, 16, 32, PARALLEL):
            for cache_world in WORLDS:
                say(f"{size} databases, {parallel} at a time, cache {cache_world}")
                one = measure(ours("this provider", parallel=parallel), size, cache_world=cache_world)
                rows.append(
                    [
                        size,
                        parallel,
                        cache_world,
                        f"{one.makespan:.0f}",
                        f"x {one.makespan / one.limit:.2f}",
                        f"x {one.makespan / one.limit_at_parallel:.2f}",
                    ]
                )
    yield table(("databases", "slots", "cache", "makespan, s", "over the limit", "over that of its slots"), rows)


def policies() -> Iterator[str]:
    """The provider's way to poll against simpler ones."""
    yield "## Ways to poll\n"
    yield WAYS
    rows = []
    for cache_world in WORLDS:
        for size in (50, 200):
            for name in POLICIES:
                say(f"{size} databases, cache {cache_world}: {name}")
                one = measure(ours(name, name), size, cache_world=cache_world)
                rows.append(
                    [
                        cache_world,
                        size,
                        name,
                        f"x {one.makespan / one.limit:.2f}",
                        f"{one.requests_per_snapshot:.2f}",
                        one.refused,
                    ]
                )
    yield table(("cache", "databases", "way", "over the limit", "requests per snapshot", "429s"), rows)


# The real engine


def reality() -> Iterator[str]:
    """One fleet at a real engine, and the same one simulated."""
    yield f"{REALITY}\n"
    yield (
        f"As many snapshots with `pulumi up --parallel {PARALLEL}` against the emulator on a real socket, and the same in virtual time. The "
        "spacing of requests is in real seconds, so the emulator runs at speed 1 and the snapshots are short instead: a 202 after "
        f"{REAL_DEADLINE:.0f} s, ready 2 to 10 s later, the first poll after {REAL_SETTINGS['first_look_after']:.0f} s, polls every "
        f"{REAL_SETTINGS['look_every']:.0f} s. Everything is comparable, except that the engine starts resources in an "
        "order of its own and needs a few seconds to start itself: the makespan counts from the first POST, and the limit is that of "
        f"the order in which the POSTs came. Aim for the plugin at {REAL_PLUGIN} if new snapshots "
        f"end the cache: at most {REAL_AIM:.2f} x the limit. If pages are kept, the last polls come later on purpose, since one too "
        "early would cost half an hour; with snapshots so short that is a larger share than above.\n"
    )
    chance = random.Random("the real fleet")  # noqa: S311  repeatable, no secret
    durations = [REAL_DEADLINE + chance.uniform(2, 10) for _ in range(max(size for *_, size in REAL_RUNS))]
    rows = []
    for cache_world in WORLDS:
        for who, package, size in REAL_RUNS:
            say(f"{size} snapshots, {who}, cache {cache_world}")
            one = (
                real_run(durations[:size], cache_world, package)
                if package
                else simulated_run(durations[:size], cache_world)
            )
            kinds = [one.requests[kind] for kind in ("create", "list", "list account", "429")]
            rows.append(
                [cache_world, who, *kinds, f"{one.makespan:.1f}", f"x {one.makespan / one.limit:.3f}", one.wrong]
            )
    yield table(
        ("cache", "run", "POSTs", "polls", "polls of the account", "429s", "makespan, s", "over the limit", "wrong"),
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
    return RealRun(Counter({**one.requests, "429": one.refused}), one.makespan, one.limit, one.wrong + one.lost)


def real_run(durations: list[float], cache_world: str, package: str) -> RealRun:
    """With the engine, on sockets."""
    engine = ensure(os.environ)
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-fleet-") as name:
        folder = Path(name)
        options = ("--soft-deadline", str(REAL_DEADLINE), "--cache-world", cache_world, "--memory", "25600", "--no-automatic", "--requests-per-minute", "30")  # fmt: skip
        with Emulator(*options, log=folder / "emulator.log") as emulator:
            databases = [f"{number + 1:032x}" for number in range(len(durations))]
            for database, seconds in zip(databases, durations, strict=True):
                emulator.control("databases", {"id": database, "snapshot_seconds": seconds})
            project = folder / "project"
            project.mkdir()
            (project / "Pulumi.yaml").write_text(REAL_PROJECT)
            (project / "__main__.py").write_text(REAL_PROGRAM.format(package=package))
            (project / "databases.json").write_text(json.dumps(databases))
            environment = {
                **emulator.environment,
                "SQUARECLOUD_FIRST_LOOK_AFTER": str(REAL_SETTINGS["first_look_after"]),
                "SQUARECLOUD_LOOK_EVERY": str(REAL_SETTINGS["look_every"]),
            }
            (folder / "stack").mkdir()
            stack = Stack(folder / "stack", project, engine, environment)
            stack.run("stack", "init", stack.name)
            stack.run("up", "--yes", "--skip-preview", "--parallel", str(PARALLEL), timeout=3600)
            ended = time.monotonic()
            journal = emulator.journal()
            states = (renamed(one.get("outputs", {}), NAMES) for one in stack.resources())
            found = {one["database_id"]: one["version_id"] for one in states if "version_id" in one}
    posts = [one for one in journal if one["accepted"]]
    wrong = sum(found.get(one["database_id"]) != one["version_id"] for one in posts) + abs(len(durations) - len(posts))
    begin = min(one["monotonic"] for one in posts)
    requests = Counter(str(one["kind"]) for one in journal)
    requests["429"] = sum(one["status"] == TOO_MANY for one in journal)
    took = dict(zip(databases, durations, strict=True))
    limit = limit_of([took[one["database_id"]] for one in posts])
    return RealRun(requests, ended - begin, limit, wrong)


# The picture

WIDTH, LEFT, ROW, GAP = 960.0, 10.0, 4.0, 44.0
COLOURS = {
    "queued": "#d5d9df",
    "POST open": "#e0a030",
    "pending": "#5b8fd0",
    "ready, not found yet": "#b03a48",
}
PAPER = "#ffffff"
DARK = (
    "<style>@media (prefers-color-scheme: dark) { text { fill: #e0e0e0 } line { stroke: #e0e0e0 } "
    f'rect[fill="{PAPER}"] {{ fill: #1a1c1e }} rect[fill="{COLOURS["queued"]}"] {{ fill: #3d434b }} }}</style>'
)
"""A picture is drawn apart from its page, so it follows the reader's system and not the page's own switch."""


def picture() -> str:
    """A panel for each of some clients, a row for each database."""
    panels = [(client, measure(client, PICTURED)) for client in CLIENTS[:2]]
    panels.append((ours("this provider, cache kept"), measure(CLIENTS[0], PICTURED, cache_world="kept")))
    end = max(one.makespan for _, one in panels)
    height = GAP * (len(panels) + 1) + ROW * PICTURED * len(panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" font-family="sans-serif" font-size="13">',
        DARK,
        f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="{PAPER}"/>',
    ]
    x = LEFT
    for name, colour in COLOURS.items():
        lines.append(f'<rect x="{x:.0f}" y="10" width="14" height="12" fill="{colour}"/>')
        lines.append(f'<text x="{x + 19:.0f}" y="21">{name}</text>')
        x += 60 + 7 * len(name)
    top = GAP
    for client, one in panels:
        lines += panel(client.name, one, top, (WIDTH - 2 * LEFT) / end)
        top += GAP + ROW * PICTURED
    return "\n".join([*lines, "</svg>", ""])


def panel(name: str, one: Measure, top: float, scale: float) -> Iterable[str]:
    """The rows of one client, in the order of their POSTs."""
    text = f"{name}: {one.databases} snapshots in {one.makespan:.0f} s, {one.requests_per_snapshot:.1f} requests each"
    yield f'<text x="{LEFT:.0f}" y="{top + 14:.0f}">{text}</text>'
    first = top + 22
    for number, track in enumerate(sorted(one.tracks, key=lambda track: track.posted)):
        done = one.makespan if track.done is None else track.done
        moments = (0.0, track.posted, track.answered, min(track.ready, done), done)
        for begin, end, colour in zip(moments, moments[1:], COLOURS.values(), strict=False):
            if end > begin:
                yield (
                    f'<rect x="{LEFT + begin * scale:.1f}" y="{first + number * ROW:.1f}" '
                    f'width="{(end - begin) * scale:.1f}" height="{ROW - 0.5:.1f}" fill="{colour}"/>'
                )
    x, bottom = LEFT + one.limit * scale, first + one.databases * ROW
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{first:.0f}" y2="{bottom:.0f}" stroke="#000000" stroke-dasharray="3 2"/>'
    yield f'<text x="{x + 4:.1f}" y="{bottom - 4:.0f}">limit {one.limit:.0f} s</text>'


if __name__ == "__main__":
    sys.exit(main())
