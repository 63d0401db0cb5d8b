"""`probe` finds out what is true of the emulated service in both worlds of its cache, and shows nothing that is secret."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import pytest

from pulumi_snapshots.probe import run, steps
from pulumi_snapshots.probe.facts import FACTS, NEVER
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from squarecloud_emulator import Fault
from tests.cli.typed import Desk, Terminal
from tests.support.ledger_places import Store
from tests.support.virtual import virtual
from tests.support.world import DATABASE, OTHER_DATABASE, Row, world

if TYPE_CHECKING:
    from tests.cli.typed import Ended
    from tests.support.world import World

LARGE = "c36d0f703ed9627c073fd6e297728343"
ALL = (DATABASE, OTHER_DATABASE, LARGE)
QUICK = 20.0


def at(w: World, tmp_path: Path, **environment: str) -> Desk:
    return Desk(w, tmp_path / "state", environment=environment)


async def probed(desk: Desk, tmp_path: Path, *arguments: str, confirmed: tuple[str, ...] = (DATABASE,)) -> Ended:
    yes = [word for one in confirmed for word in ("--yes", one)]
    file = str(tmp_path / "report.json")
    return await desk.types("probe", DATABASE, "--json", "--report", file, *yes, *arguments)


def written(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    return content


def verdicts(report: dict[str, Any], *names: str) -> list[str]:
    return [report["facts"][name]["verdict"] for name in names]


@pytest.mark.parametrize(
    ("cache_world", "learned", "verdict", "minutes"),
    [("invalidated", "ended-by-snapshot", "confirmed", 6), ("kept", "kept", "contradicted", 36)],
)
def test_each_world_of_the_cache_is_found_out(
    tmp_path: Path, cache_world: str, learned: str, verdict: str, minutes: int
) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=QUICK, cache_world=cache_world, requests_per_minute=30) as w:
            begun = w.clock.monotonic()
            ended = await probed(at(w, tmp_path), tmp_path)
            report = ended.done.json
            assert verdicts(report, "own-cache-ends", "account-cache-ends") == [verdict] * 2
            assert report["listing_cache"] == learned
            assert report == written(tmp_path)
            published = [
                name for name, one in report["facts"].items() if one["published"] and one["verdict"] == "contradicted"
            ]
            assert published == []
            assert (w.clock.monotonic() - begun) / 60 <= minutes + 0.5
            assert [post.accepted for post in w.posts] == [True, False, True]
            assert len(w.emulator.journal) <= 36
            assert not [one for one in w.emulator.journal if one.code == "RATE_LIMITED"]
            assert len(report["left"]) == 2
            started = {post.version_id for post in w.posts if post.accepted}
            assert all(any(str(version) in left for left in report["left"].values()) for version in started)

    play()


WORLDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "as documented": (
        {},
        {"cooldown-lasts": "confirmed", "refusal-restarts": "contradicted", "newest": "confirmed",
         "range": "confirmed", "head": "confirmed", "version-header": "confirmed", "modified-end": "confirmed",
         "key-version": "confirmed", "pinned": "confirmed", "listed": "confirmed", "url-days": "confirmed"},
    ),
    "refusals restart the cooldown": ({}, {"refusal-restarts": "confirmed"}),
    "modified is the start": ({"modified_is": "start"}, {"modified-end": "contradicted"}),
    "a key without a version": ({"key_of_200_has_version": False}, {"key-version": "contradicted", "pinned": "confirmed"}),
    "no version header": ({"version_header": False}, {"version-header": "contradicted", "newest": "confirmed"}),
    "old entries": ({"old_style_entries": True}, {"entry": "contradicted"}),
    "long names": ({"name_style": "id_type_origin"}, {"name": "confirmed"}),
    "no account's listing": ({"plan": "free"}, {"account-cache-ends": "open", "own-cache-ends": "confirmed"}),
    "no status of restores": ({"restore_status_route": "404"}, {"restore-status": "contradicted"}),
    "URLs of a day": ({"url_valid_days": 1.0}, {"url-days": "contradicted"}),
    "a clock an hour ahead": ({"clock_offset_seconds": 3600.0}, {"modified-end": "confirmed", "own-cache-ends": "confirmed"}),
    "Retry-After": ({}, {"no-retry-after": "contradicted"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_reported_as_it_is(tmp_path: Path, name: str) -> None:
    service, expected = WORLDS[name]

    @virtual
    async def play() -> None:
        async with world(**{"snapshot_seconds": QUICK, "cache_world": "invalidated", **service}) as w:
            if name == "refusals restart the cooldown":
                w.emulator.add_fault(Fault(kind="create", skip=2, status=429, code="KEEP_CALM"))
            if name == "Retry-After":
                w.emulator.add_fault(Fault(kind="status", headers={"Retry-After": "7"}))
            report = (await probed(at(w, tmp_path), tmp_path)).done.json
            assert {fact: report["facts"][fact]["verdict"] for fact in expected} == expected, report["facts"]
            accepted = [post for post in w.posts if post.accepted]
            assert len(accepted) == 2

    play()


def answers(content: str) -> str:
    return f'{{"status":"success","response":{content}}}'


FAULTS: dict[str, dict[str, Any]] = {
    "database": {"kind": "database", "body": answers('{"name":"x","id":"a","ram":1}')},
    "envelope": {"kind": "status", "body": '{"status":"success","data":{}}'},
    "json": {"kind": "status", "html": 502},
    "status": {"kind": "status", "body": answers('{"running":"yes"}')},
    "restore-states": {"kind": "restore status", "body": answers('{"state":"paused"}')},
    "restore-times": {"kind": "restore status", "body": answers('{"state":"success","finished_at":1790000060}')},
}


@pytest.mark.parametrize("fact", FAULTS)
def test_a_planted_contradiction_is_reported(tmp_path: Path, fact: str) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
            w.emulator.add_fault(Fault(**FAULTS[fact]))
            ended = await probed(at(w, tmp_path), tmp_path)
            assert written(tmp_path)["facts"][fact]["verdict"] == "contradicted", ended.err

    play()


# What could deceive it ------------------------------------------------------------------------------------------------

TRUTH = {"invalidated": ("confirmed", "ended-by-snapshot"), "kept": ("contradicted", "kept")}
DECEPTIONS: dict[str, tuple[dict[str, Any], list[float], dict[str, int], bool]] = {
    "nothing": ({}, [], {}, True),
    "a 202": ({"snapshot_seconds": 150.0}, [], {}, False),
    "a slow 202": ({"snapshot_seconds": 400.0}, [], {}, False),
    "another snapshot just before": ({}, [-100.0], {}, False),
    "another snapshot between the two": ({}, [60.0], {}, False),
    "another snapshot with the second": ({}, [195.0], {}, False),
    "another snapshot while a 202 continues": ({"snapshot_seconds": 150.0}, [100.0], {}, False),
    "a create 170 s after the first is accepted": ({}, [], {"_SNAPSHOT_PER_RESOURCE": 100}, True),
    "no key, version or header tells them apart": (
        {"key_of_200_has_version": False, "version_header": False},
        [],
        {},
        True,
    ),
    "old entries": ({"old_style_entries": True, "key_of_200_has_version": False}, [], {}, True),
    "a clock an hour ahead": ({"clock_offset_seconds": 3600.0}, [], {}, True),
}
"""By name: the service, when others take snapshots, its limits, and whether the run finds out about the cache all the same."""


@pytest.mark.parametrize("cache_world", TRUTH)
@pytest.mark.parametrize("name", DECEPTIONS)
def test_a_run_believes_only_what_it_saw(tmp_path: Path, name: str, cache_world: str) -> None:
    service, others, limits, finds = DECEPTIONS[name]
    verdict, setting = TRUTH[cache_world]

    @virtual
    async def play() -> None:
        async with world(**{"snapshot_seconds": QUICK, "cache_world": cache_world, **service}) as w:
            for number, seconds in limits.items():
                stack.enter_context(mock.patch(f"squarecloud_emulator.service.limits.{number}", seconds))
            await w.clock.sleep(200)

            async def another(after: float) -> None:
                await w.clock.sleep(200 + after)
                w.emulator.add_snapshot(DATABASE, origin="automatic")

            async with anyio.create_task_group() as group:
                for after in others:
                    group.start_soon(another, after)
                await w.clock.sleep(200)
                ended = await probed(at(w, tmp_path), tmp_path)
            report = ended.done.json
            found = verdicts(report, "own-cache-ends", "account-cache-ends")
            assert set(found) <= ({verdict} if finds else {verdict, "open"}), report["facts"]
            assert report["listing_cache"] in ({setting} if finds else {setting, ""})
            wrong = [
                name
                for name, one in report["facts"].items()
                if one["published"] and one["verdict"] == "contradicted" and name not in UNLIKE.get(name_of_world, ())
            ]
            assert wrong == []
            times = sorted(one.monotonic for one in w.emulator.journal if one.kind != "create")
            apart = [later - earlier for earlier, later in itertools.pairwise(times)]
            assert min(apart) >= 2.1, "as slow as the vendor's own suite"

    name_of_world = name
    with contextlib.ExitStack() as stack:
        play()


UNLIKE = {
    "a slow 202": ("listed-late",),
    "a create 170 s after the first is accepted": ("cooldown-lasts",),
    "old entries": ("entry", "origin", "pinned", "account-entry"),
}
"""What is not as it is published in these worlds."""


@pytest.mark.parametrize(
    ("code", "status"), [("SNAPSHOT_IN_PROGRESS", 409), ("SOMETHING_NEW", 409), ("RESTORE_IN_PROGRESS", 403)]
)
def test_another_refusal_than_that_of_the_cooldown_says_nothing_of_it(tmp_path: Path, code: str, status: int) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
            w.emulator.add_fault(Fault(kind="create", skip=1, status=status, code=code))
            report = (await probed(at(w, tmp_path), tmp_path)).done.json
            assert verdicts(report, "cooldown-lasts") == ["open"]
            told = [one for one in report["left"].values() if "which is new, so it may have been started" in one]
            assert len(told) == (code == "SOMETHING_NEW")

    play()


@pytest.mark.parametrize(
    ("code", "said"),
    [("DATABASE_NOT_RUNNING", "Nothing was started."), ("SOMETHING_NEW", "The report says what it may have started.")],
)
def test_nothing_was_started_is_said_only_if_that_is_certain(tmp_path: Path, code: str, said: str) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=QUICK) as w:
            w.emulator.add_fault(Fault(kind="create", status=400, code=code))
            ended = await probed(at(w, tmp_path), tmp_path)
            assert ended.code == 1
            assert said in ended.err
            assert bool(written(tmp_path)["left"]) is (code == "SOMETHING_NEW")

    play()


def test_every_fact_is_settled_by_a_step_or_stays_open_for_a_reason() -> None:
    judged = re.findall(r'"([a-z0-9-]+)"', Path(run.__file__).read_text() + Path(steps.__file__).read_text())
    assert set(FACTS) - set(judged) == set(NEVER)


# The options -----------------------------------------------------------------------------------------------------------


@virtual
async def test_the_options_settle_their_facts(tmp_path: Path) -> None:
    async with world(databases=ALL, cache_world="invalidated", snapshot_seconds=QUICK, requests_per_minute=30) as w:
        w.emulator.account.databases[LARGE].snapshot_seconds = 150
        desk = at(w, tmp_path)
        arguments = ("--large", LARGE, "--restore-onto", OTHER_DATABASE)
        report = (await probed(desk, tmp_path, *arguments, confirmed=ALL)).done.json
        names = ("create-202", "listed-late", "uptime", "restore-answer", "restore-states", "restore-times")
        assert verdicts(report, *names, "restore-down", "restore-restarts") == ["confirmed"] * 8, report["facts"]
        assert verdicts(report, "restore-waits") == ["contradicted"]
        assert len([post for post in w.posts if post.accepted]) == 3
        assert len(report["left"]) == 4


@pytest.mark.parametrize(
    ("service", "fact", "verdict"),
    [
        ({"restore_stops_database": False}, "restore-down", "contradicted"),
        ({"restore_holds": True}, "restore-waits", "confirmed"),
        ({"restore_status_route": "405"}, "restore-status", "contradicted"),
    ],
    ids=str,
)
def test_a_restore_is_reported_as_it_is(tmp_path: Path, service: dict[str, Any], fact: str, verdict: str) -> None:
    @virtual
    async def play() -> None:
        async with world(databases=ALL, cache_world="invalidated", snapshot_seconds=QUICK, **service) as w:
            arguments = ("--restore-onto", OTHER_DATABASE)
            report = (await probed(at(w, tmp_path), tmp_path, *arguments, confirmed=ALL[:2])).done.json
            assert report["facts"][fact]["verdict"] == verdict, report["facts"]
            assert len(w.requests("restore")) == 1

    play()


# Confirmation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", OTHER_DATABASE + "\n"])
def test_without_the_typed_id_nothing_is_sent(tmp_path: Path, typed: str) -> None:
    @virtual
    async def play() -> None:
        async with world() as w:
            for stdin in (Terminal(typed), None):
                ended = await at(w, tmp_path).types("probe", DATABASE, typed=stdin)
                assert ended.code == 2
                assert not w.emulator.journal

    play()
    assert list(tmp_path.iterdir()) == []


@virtual
async def test_each_database_must_be_confirmed(tmp_path: Path) -> None:
    async with world(databases=ALL) as w:
        ended = await probed(at(w, tmp_path), tmp_path, "--restore-onto", OTHER_DATABASE)
        assert ended.code == 2
        assert f"--yes {OTHER_DATABASE} to OVERWRITE" in ended.err
        assert not w.emulator.journal


@virtual
async def test_a_typed_id_begins_the_run_after_the_costs_were_said(tmp_path: Path) -> None:
    async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
        file = str(tmp_path / "report.json")
        ended = await at(w, tmp_path).types("probe", DATABASE, "--report", file, typed=Terminal(f"{DATABASE}\n"))
        costs = "takes 2 snapshots of the day's allowance, sends about 30 requests, and takes about 6 minutes, or 36"
        assert costs in ended.done.err.partition("Type the id")[0]


# Trouble ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "me", "status": 401, "code": "ACCESS_DENIED"}, "ACCESS_DENIED"),
        ({"kind": "status", "status": 429, "code": "RATE_LIMITED"}, "RATE_LIMITED"),
        ({"kind": "create", "status": 429, "code": "DAILY_SNAPSHOTS_LIMIT_REACHED"}, "DAILY_SNAPSHOTS_LIMIT_REACHED"),
        ({"kind": "create", "skip": 1, "status": 401, "code": "ACCESS_DENIED"}, "ACCESS_DENIED"),
        ({"kind": "list account", "status": 429, "code": "RATE_LIMITED"}, "RATE_LIMITED"),
        ({"kind": "list", "status": 429, "code": "RATE_LIMITED"}, "RATE_LIMITED"),
    ],
    ids=str,
)
def test_the_first_refused_key_or_block_ends_the_run(tmp_path: Path, fault: dict[str, Any], said: str) -> None:
    @virtual
    async def play() -> None:
        async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
            w.emulator.add_fault(Fault(**fault))
            ended = await probed(at(w, tmp_path), tmp_path)
            assert ended.code == 1
            assert said in ended.err
            report = written(tmp_path)
            assert report["state"] == "stopped"
            assert said in report["why"]
            assert left_is_true(w, report)
            refused = next(one for one in w.emulator.journal if one.code == said)
            after = [one for one in w.emulator.journal if one.monotonic > refused.monotonic]
            assert after == []

    play()


STEPS = re.findall(r'run.begin\("([^"]+)"\)', Path(steps.__file__).read_text())


def left_is_true(w: World, report: dict[str, Any]) -> bool:
    """Whether the report has a sentence for each POST that was accepted, and names its snapshot if it says that it knows it."""
    accepted = [post for post in w.emulator.journal if post.accepted]
    left = list(report["left"].values())
    named = [post for post in accepted if any(str(post.version_id) in one for one in left)]
    unnamed = [one for one in left if re.search(r"not awaited|not seen|lost", one)]
    return len(left) >= len(accepted) and len(named) + len(unnamed) >= len(accepted)


@pytest.mark.parametrize(("how", "later"), [("^C", 7), ("kill", 0), ("kill", 7)])
@pytest.mark.parametrize("step", STEPS)
def test_a_cut_run_says_what_it_leaves(tmp_path: Path, step: str, later: int, how: str) -> None:
    """In every step, at its beginning and within it."""

    @virtual
    async def play() -> None:
        seconds = 150 if step == "the listings, once the first snapshot is there" else QUICK
        async with world(databases=ALL, cache_world="kept", snapshot_seconds=seconds) as w:
            w.emulator.account.databases[LARGE].snapshot_seconds = 150
            desk = at(w, tmp_path)
            options = ("--large", LARGE, "--restore-onto", OTHER_DATABASE)
            ends: list[Ended] = []

            async def run() -> None:
                ends.append(await probed(desk, tmp_path, *options, confirmed=ALL))

            async with anyio.create_task_group() as process:
                process.start_soon(run)
                await w.clock.sleep(0.5)
                # It is read thousands of times. Its text is enough: the steps of earlier answers are indented deeper.
                while f'\n  "step": "{step}"' not in (tmp_path / "report.json").read_text():
                    assert not ends, "the step was never taken"
                    await w.clock.sleep(0.5)
                await w.clock.sleep(later)
                before = written(tmp_path)
                if how == "kill":
                    process.cancel_scope.cancel()
                elif not ends:
                    signal.raise_signal(signal.SIGINT)
            report = written(tmp_path)
            assert left_is_true(w, report), (report["step"], report["left"])
            if how == "^C" and before["state"] == "running":
                assert ends[0].code == 130
                assert report["state"] == "stopped"
                assert "was interrupted in the step" in ends[0].err
                assert all(left in ends[0].err for left in report["left"].values())
            elif before["state"] == "running":
                assert report["step"] == before["step"]

    play()


@virtual
async def test_a_snapshot_of_the_same_database_does_not_take_the_runs_version(tmp_path: Path) -> None:
    async with world(snapshot_seconds=60, cache_world="invalidated") as w:
        desk = at(w, tmp_path, SQUARECLOUD_FIRST_POLL_AFTER="1m")
        ours: list[Any] = []

        async def up() -> None:
            await w.clock.sleep(30)
            invocation = desk.invocation(Terminal(), Terminal())
            async with invocation.session() as session:
                ours.append(await create(session, SnapshotInputs(DATABASE), Row(), "urn:ours"))

        async with anyio.create_task_group() as group:
            group.start_soon(up)
            await probed(desk, tmp_path)
        record = ours[0]
        mine = [
            post.version_id
            for post in w.posts
            if post.accepted and str(post.version_id) not in str(written(tmp_path)["left"])
        ]
        assert record.version_id in mine


@virtual
async def test_a_run_waits_for_no_snapshot_of_another(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300) as w:
        desk = at(w, tmp_path)
        async with anyio.create_task_group() as process:
            process.start_soon(partial(desk.types, "create", DATABASE))
            await w.clock.sleep(100)
            process.cancel_scope.cancel()
        ended = await probed(desk, tmp_path)
        assert ended.code == 1
        assert "its end is not known.\nThe run has stopped, and sent no further request." in ended.err
        assert len(w.posts) == 1


@pytest.mark.parametrize("fault", [{"no_connect": True}, {"html": 503}, {"drop": True}], ids=str)
def test_a_service_that_does_not_answer_is_sent_no_create(tmp_path: Path, fault: dict[str, Any]) -> None:
    @virtual
    async def play() -> None:
        async with world() as w:
            w.emulator.add_fault(Fault(**fault, times=None))
            ended = await probed(at(w, tmp_path), tmp_path)
            assert ended.code == 1
            assert "Nothing was started." in ended.err
            assert not w.posts

    play()


@virtual
async def test_a_lost_answer_is_resolved_by_the_listing(tmp_path: Path) -> None:
    async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
        w.emulator.add_fault(Fault(kind="create", when="after", drop=True))
        report = (await probed(at(w, tmp_path), tmp_path)).done.json
        assert len([post for post in w.posts if post.accepted]) == 2
        assert all("the service keeps it" in left for left in report["left"].values())
        assert left_is_true(w, report)


@virtual
async def test_a_small_plan_is_not_used_up(tmp_path: Path) -> None:
    async with world(plan_memory_mb=256) as w:
        ended = await probed(at(w, tmp_path), tmp_path)
        assert "allows 2 snapshots in 24 hours, and this run takes 2" in ended.err
        assert not w.posts


@virtual
async def test_a_report_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    async with world() as w:
        ended = await at(w, tmp_path).types(
            "probe", DATABASE, "--yes", DATABASE, "--report", "/proc/nowhere/report.json"
        )
        assert ended.code == 1
        assert "report cannot be written to" in ended.err
        assert not w.emulator.journal


@pytest.mark.parametrize("trouble", ["fails", "refuses"])
@virtual
async def test_a_run_that_cannot_write_down_what_it_sends_starts_nothing(tmp_path: Path, trouble: str) -> None:
    async with world() as w:
        desk, store = at(w, tmp_path), Store(w.clock)
        desk.place = store.bucket
        setattr(store, trouble, "no rights")
        ended = await probed(desk, tmp_path)
        assert ended.code == 1
        assert "no rights" in ended.err
        assert "Nothing was started: what is sent must be written down there first." in ended.err
        assert not w.posts
        assert written(tmp_path)["left"] == {}


@virtual
async def test_a_run_stops_if_another_request_begins_meanwhile(tmp_path: Path) -> None:
    async with world(snapshot_seconds=300, cache_world="invalidated") as w:
        desk = at(w, tmp_path)
        ends: list[Ended] = []

        async def run() -> None:
            ends.append(await probed(desk, tmp_path))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            # The run reads for seconds before its first request.
            await w.clock.sleep(1)
            group.start_soon(partial(desk.types, "create", DATABASE))
        (ended,) = ends
        assert ended.code == 1
        assert "its end is not known.\nThe run has stopped, and sent no further request." in ended.err
        assert len(w.posts) == 1


@virtual
async def test_runs_says_whose_a_killed_run_was(tmp_path: Path) -> None:
    async with world(snapshot_seconds=QUICK, cache_world="invalidated") as w:
        desk = at(w, tmp_path)
        async with anyio.create_task_group() as process:
            process.start_soon(partial(probed, desk, tmp_path))
            await w.clock.sleep(20)
            process.cancel_scope.cancel()
        await w.clock.sleep(180)
        out = (await desk.types("runs")).out
        assert "squarecloud-snapshots probe" in out
        assert "no run claims" in out


# Secrets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_world", ["invalidated", "kept"])
def test_no_output_holds_a_secret(tmp_path: Path, cache_world: str) -> None:
    @virtual
    async def play() -> None:
        async with world(databases=ALL, snapshot_seconds=QUICK, cache_world=cache_world) as w:
            key = w.emulator.settings.api_key
            code = '{"status":"error","code":"' + key + '","message":"' + key + '"}'
            w.emulator.add_fault(Fault(kind="status", body=code, body_status=400, headers={"X-" + key: key}))
            desk = at(w, tmp_path)
            shown = ""
            for words in (["--json"], []):
                file = tmp_path / "report.json"
                confirmed = [word for one in ALL for word in ("--yes", one)]
                more = ["--large", LARGE, "--restore-onto", OTHER_DATABASE]
                ended = await desk.types("probe", DATABASE, *confirmed, "--report", str(file), *more, *words)
                shown += ended.out + ended.err + file.read_text()
                await w.clock.sleep(86400)
            for secret in (key, key.lower(), "Signature=", "AWSAccessKeyId", "Expires="):
                assert secret not in shown
            for stored in (w.emulator.snapshots(DATABASE))[:2]:
                assert str(stored.version_id) in shown, "its version is no secret"

    play()
