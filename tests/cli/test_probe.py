"""`probe` finds out what is true of the emulated service in both worlds of its cache, and shows nothing that is secret."""

import itertools
import json
import re
import signal
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.probe import run, steps
from pulumi_snapshots.probe.report import FACTS, NEVER_TRIED
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs
from squarecloud_emulator import Fault
from tests.cli.typed import Desk, Ended, Terminal
from tests.support.ledger_places import Store
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, Row, World, world

LARGE = "c36d0f703ed9627c073fd6e297728343"
ALL = (DATABASE, OTHER_DATABASE, LARGE)
OPTIONS = ("--large", LARGE, "--restore-onto", OTHER_DATABASE)
QUICK = 20.0
STOPPED = "its end is not known.\nThe run has stopped, and sent no further request."


def quick(**service: Any) -> AbstractAsyncContextManager[World]:
    """A service with small databases, whose snapshots end the caching of listings."""
    return world(**{"snapshot_seconds": QUICK, "cache_world": "invalidated", **service})


def at(w: World, tmp_path: Path, **environment: str) -> Desk:
    return Desk(w, tmp_path / "state", environment=environment)


async def probed(
    desk: Desk,
    tmp_path: Path,
    *arguments: str,
    confirmed: tuple[str, ...] = (DATABASE,),
) -> Ended:
    yes = [word for one in confirmed for word in ("--yes", one)]
    file = str(tmp_path / "report.json")
    return await desk.types(
        "probe", DATABASE, "--json", "--report", file, *yes, *arguments
    )


async def fails(
    w: World, tmp_path: Path, *words: str, desk: Desk | None = None
) -> dict[str, Any]:
    """The report of a run that ends early, and whose error has these words."""
    ended = (await probed(desk or at(w, tmp_path), tmp_path)).failed()
    assert [each for each in words if each not in ended.err] == [], ended.err
    report = written(tmp_path)
    assert ("nothing is left at the service." in ended.err) == (report["left"] == {})
    return report


def written(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    return content


def verdicts(report: dict[str, Any], *names: str) -> list[str]:
    return [report["facts"][name]["verdict"] for name in names]


def untrue(report: dict[str, Any]) -> set[str]:
    """The published facts that the report calls contradicted."""
    facts = report["facts"].items()
    return {
        name
        for name, one in facts
        if one["published"] and one["verdict"] == "contradicted"
    }


def answers(content: str, kind: str = "status") -> Fault:
    return Fault(kind=kind, body=f'{{"status":"success","response":{content}}}')


RESTORES = ("--restore-onto", OTHER_DATABASE)
AS_DOCUMENTED = "cooldown-lasts newest range head version-header modified-end key-version pinned listed url-days"
NO_DATA = Fault(kind="status", body='{"status":"success","data":{}}')
SECONDS = answers('{"state":"success","finished_at":1790000060}', "restore status")
WORLDS: dict[str, tuple[dict[str, Any], Fault | None, str]] = {
    # The service, its fault, and the facts that are confirmed, contradicted (-) or open (?).
    "as documented": ({}, None, f"{AS_DOCUMENTED} -refusal-restarts"),
    "refusals restart the cooldown": (
        {},
        Fault(kind="create", skip=2, status=429, code="KEEP_CALM"),
        "refusal-restarts",
    ),
    "modified is the start": ({"modified_is": "start"}, None, "-modified-end"),
    "a key without a version": (
        {"key_of_200_has_version": False},
        None,
        "-key-version pinned",
    ),
    "no version header": ({"version_header": False}, None, "-version-header ?newest"),
    "old entries": ({"old_style_entries": True}, None, "-entry"),
    "long names": ({"name_style": "id_type_origin"}, None, "name"),
    "no account's listing": (
        {"plan": "free"},
        None,
        "?account-cache-ends own-cache-ends",
    ),
    "no status of restores": ({"restore_status_route": "404"}, None, "-restore-status"),
    "another route of restores": (
        {"restore_status_route": "405"},
        None,
        "-restore-status",
    ),
    "URLs of a day": ({"url_valid_days": 1.0}, None, "-url-days"),
    "a clock an hour ahead": (
        {"clock_offset_seconds": 3600.0},
        None,
        "modified-end own-cache-ends",
    ),
    "Retry-After": (
        {},
        Fault(kind="status", headers={"Retry-After": "7"}),
        "-no-retry-after",
    ),
    "no port": ({}, answers('{"name":"x","id":"a","ram":1}', "database"), "-database"),
    "no response": ({}, NO_DATA, "-envelope"),
    "a proxy's page": ({}, Fault(kind="status", html=502), "-json"),
    "a text in place of a truth": ({}, answers('{"running":"yes"}'), "-status"),
    "a plan that ends": (
        {"plan_ends_at": START + timedelta(days=200)},
        None,
        "plan-end",
    ),
    "a plan that ended": (
        {"plan_ends_at": START - timedelta(days=1)},
        None,
        "-plan-end",
    ),
    "a plan without an end": ({}, None, "?plan-end"),
    "a new state": (
        {},
        answers('{"state":"paused"}', "restore status"),
        "-restore-states",
    ),
    "seconds": ({}, SECONDS, "-restore-times"),
    # With the option that restores.
    "restores of a running database": (
        {"restore_stops_database": False},
        None,
        "-restore-down",
    ),
    "restores that wait": ({"restore_holds": True}, None, "restore-waits"),
}


@pytest.mark.parametrize("name", WORLDS)
@virtual
async def test_a_world_is_reported_as_it_is(tmp_path: Path, name: str) -> None:
    service, fault, facts = WORLDS[name]
    expected = {
        each.lstrip("-?"): {"-": "contradicted", "?": "open"}.get(each[0], "confirmed")
        for each in facts.split()
    }
    options = RESTORES if name.startswith("restores") else ()
    async with quick(databases=ALL, **service) as w:
        if fault is not None:
            w.emulator.add_fault(fault)
        report = (
            await probed(
                at(w, tmp_path), tmp_path, *options, confirmed=ALL[: 1 + bool(options)]
            )
        ).done.json
        assert {
            fact: report["facts"][fact]["verdict"] for fact in expected
        } == expected, report["facts"]
        assert len([post for post in w.posts if post.accepted]) == 2
        assert len(w.requests("restore")) == bool(options)


@staged(quick, databases=ALL, requests_per_minute=30)
async def test_the_options_settle_their_facts(w: World, tmp_path: Path) -> None:
    w.emulator.account.databases[LARGE].snapshot_seconds = 150
    report = (
        await probed(at(w, tmp_path), tmp_path, *OPTIONS, confirmed=ALL)
    ).done.json
    names = (
        "create-202",
        "listed-late",
        "uptime",
        "restore-answer",
        "restore-states",
        "restore-times",
    )
    assert (
        verdicts(report, *names, "restore-down", "restore-restarts")
        == ["confirmed"] * 8
    ), report["facts"]
    assert verdicts(report, "restore-waits") == ["contradicted"]
    assert len([post for post in w.posts if post.accepted]) == 3
    assert len(report["left"]) == 4


def test_every_fact_is_settled_by_a_step_or_stays_open_for_a_reason() -> None:
    judged = re.findall(
        r'"([a-z0-9-]+)"',
        Path(run.__file__).read_text() + Path(steps.__file__).read_text(),
    )
    assert set(FACTS) - set(judged) == set(NEVER_TRIED)


# What could deceive it ------------------------------------------------------------------------------------------------

TRUTH = {
    "invalidated": ("confirmed", "ended-by-snapshot"),
    "kept": ("contradicted", "kept"),
}
SLOW = {"snapshot_seconds": 150.0}
AHEAD = {"clock_offset_seconds": 3600.0}
ALIKE = {"key_of_200_has_version": False, "version_header": False}
OLD = {"old_style_entries": True, "key_of_200_has_version": False}
DECEPTIONS: dict[str, tuple[dict[str, Any], float | None, bool, set[str]]] = {
    # The service, when another client takes a snapshot, whether the run finds out about the cache all the same, and what is not
    # as it is published.
    "nothing": ({"requests_per_minute": 30}, None, True, set()),
    "a 202": (SLOW, None, False, set()),
    "a slow 202": ({"snapshot_seconds": 400.0}, None, False, {"listed-late"}),
    "another snapshot just before": ({}, -100.0, False, set()),
    "another snapshot between the two": ({}, 60.0, False, set()),
    "another snapshot with the second": ({}, 195.0, False, set()),
    "another snapshot while a 202 continues": (SLOW, 100.0, False, set()),
    "a create 170 s after the first is accepted": ({}, None, True, {"cooldown-lasts"}),
    "no key, version or header tells them apart": (ALIKE, None, True, set()),
    "old entries": (OLD, None, True, {"entry", "origin", "pinned", "account-entry"}),
    "a clock an hour ahead": (AHEAD, None, True, set()),
}


@pytest.mark.parametrize("cache_world", TRUTH)
@pytest.mark.parametrize("name", DECEPTIONS)
@virtual
async def test_a_run_believes_only_what_it_saw(
    tmp_path: Path, name: str, cache_world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, others, finds, unlike = DECEPTIONS[name]
    verdict, setting = TRUTH[cache_world]
    if "170 s" in name:
        monkeypatch.setattr(
            "squarecloud_emulator.service.limits._SNAPSHOT_PER_RESOURCE", 100
        )
    async with (
        quick(cache_world=cache_world, **service) as w,
        anyio.create_task_group() as group,
    ):
        if others is not None:
            take = partial(w.emulator.add_snapshot, DATABASE, origin="automatic")
            group.start_soon(w.later, 400 + others, take)
        await w.clock.sleep(400)
        begun = w.clock.monotonic()
        report = (await probed(at(w, tmp_path), tmp_path)).done.json
        minutes = (w.clock.monotonic() - begun) / 60
    found = verdicts(report, "own-cache-ends", "account-cache-ends")
    assert set(found) <= ({verdict} if finds else {verdict, "open"}), report["facts"]
    assert report["listing_cache"] in ({setting} if finds else {setting, ""})
    assert untrue(report) <= unlike
    assert report == written(tmp_path)
    _is_as_slow_as_the_vendors_own_suite(w)
    if name == "nothing":
        assert minutes <= (36.5 if cache_world == "kept" else 6.5)
        _costs_two_snapshots_and_names_them(w, report)


def _is_as_slow_as_the_vendors_own_suite(w: World) -> None:
    times = sorted(one.monotonic for one in w.emulator.journal if one.kind != "create")
    apart = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(apart) >= 2.1


def _costs_two_snapshots_and_names_them(w: World, report: dict[str, Any]) -> None:
    """Undisturbed, a run sends little, and its report names each snapshot that it leaves."""
    assert [post.accepted for post in w.posts] == [True, False, True]
    assert len(w.emulator.journal) <= 36
    assert len(report["left"]) == 2
    named = " ".join(report["left"].values())
    for post in w.posts:
        assert not post.accepted or str(post.version_id) in named


@pytest.mark.parametrize(
    "code", ["SNAPSHOT_IN_PROGRESS", "SOMETHING_NEW", "RESTORE_IN_PROGRESS"]
)
@pytest.mark.parametrize("skip", [0, 1])
@staged(quick)
async def test_another_refusal_than_that_of_the_cooldown_says_only_what_is_certain(
    w: World, tmp_path: Path, skip: int, code: str
) -> None:
    is_new = code == "SOMETHING_NEW"
    w.fault(
        kind="create",
        skip=skip,
        status=403 if code == "RESTORE_IN_PROGRESS" else 409,
        code=code,
    )
    if skip:
        report = (await probed(at(w, tmp_path), tmp_path)).done.json
        assert verdicts(report, "cooldown-lasts") == ["open"]
    else:
        report = await fails(
            w,
            tmp_path,
            "The report says what it may have" if is_new else "Nothing was started.",
        )
    assert (
        str(report["left"]).count("which is new, so it may have been started") == is_new
    )


# Confirmation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", ["", "\n", "yes\n", OTHER_DATABASE + "\n", DATABASE + "\n"]
)
@staged(quick, databases=ALL)
async def test_only_the_typed_id_starts_a_run_after_its_costs_were_said(
    w: World, tmp_path: Path, typed: str
) -> None:
    file = tmp_path / "report.json"
    if typed == DATABASE + "\n":
        ended = await at(w, tmp_path).types(
            "probe", DATABASE, "--report", str(file), typed=Terminal(typed)
        )
        costs = "takes 2 snapshots of the daily quota, sends about 30 requests, and takes about 6 minutes, or 36"
        assert costs in ended.done.err.partition("Type the id")[0]
        return
    for stdin in (Terminal(typed), None):
        assert (await at(w, tmp_path).types("probe", DATABASE, typed=stdin)).code == 2
    (await probed(at(w, tmp_path), tmp_path, *RESTORES)).failed(
        f"--yes {OTHER_DATABASE} to OVERWRITE", code=2
    )
    assert not w.emulator.journal
    assert not file.exists()


@pytest.mark.parametrize("option", ["--large", "--restore-onto"])
@staged(quick, databases=ALL)
async def test_no_database_is_used_for_two_purposes(
    w: World, tmp_path: Path, option: str
) -> None:
    typed = ("probe", DATABASE, option, DATABASE, "--yes", DATABASE)
    (await at(w, tmp_path).types(*typed)).failed("must differ from each other", code=2)
    assert not w.emulator.journal


# Trouble ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("me", "ACCESS_DENIED"),
        ("create", "ACCESS_DENIED"),
        ("create", "DAILY_SNAPSHOTS_LIMIT_REACHED"),
        *((kind, "RATE_LIMITED") for kind in ("status", "list account", "list")),
    ],
)
@staged(quick)
async def test_the_first_refused_key_or_block_ends_the_run(
    w: World, tmp_path: Path, kind: Any, said: str
) -> None:
    is_second = (kind, said) == ("create", "ACCESS_DENIED")
    w.fault(
        kind=kind,
        status=401 if said == "ACCESS_DENIED" else 429,
        code=said,
        skip=int(is_second),
    )
    report = await fails(w, tmp_path, said)
    assert (report["state"], said in report["why"]) == ("stopped", True)
    assert left_is_true(w, report)
    assert w.emulator.journal[-1].code == said, "nothing is sent after it"


@staged(quick)
async def test_a_refused_first_create_is_shown_with_its_status_and_code(
    w: World, tmp_path: Path
) -> None:
    w.fault(kind="create", status=429, code="KEEP_CALM")
    refused = "first create was refused with 429 KEEP_CALM"
    report = await fails(w, tmp_path, refused)
    assert refused in report["why"]


STEPS = re.findall(r'run.begin\("([^"]+)"\)', Path(steps.__file__).read_text())


def left_is_true(w: World, report: dict[str, Any]) -> bool:
    """Whether the report has a sentence for each POST that was accepted, and names its snapshot if it says that it knows it."""
    accepted = [post for post in w.emulator.journal if post.accepted]
    left = list(report["left"].values())
    named = [
        post for post in accepted if any(str(post.version_id) in one for one in left)
    ]
    unnamed = [one for one in left if re.search(r"not answered|not seen|lost", one)]
    return len(left) >= len(accepted) and len(named) + len(unnamed) >= len(accepted)


CUTS = [
    (step, how)
    for step in STEPS
    for how in ("^C", "kill")
    if how == "kill" or "create" in step or "restore" in step
]
"""A kill in each step; ^C, which each ends alike, in those that request something."""


@pytest.mark.parametrize(("step", "how"), CUTS)
@virtual
async def test_a_cut_run_says_what_it_leaves(
    tmp_path: Path, step: str, how: str
) -> None:
    seconds = 150 if step == "the listings, once the first snapshot is there" else QUICK
    async with quick(databases=ALL, cache_world="kept", snapshot_seconds=seconds) as w:
        w.emulator.account.databases[LARGE].snapshot_seconds = 150
        ends: list[Ended] = []

        async def run() -> None:
            ends.append(
                await probed(at(w, tmp_path), tmp_path, *OPTIONS, confirmed=ALL)
            )

        async with anyio.create_task_group() as process:
            process.start_soon(run)
            await w.clock.sleep(0.5)
            # It is read thousands of times. Its text is enough: the steps of earlier answers are indented deeper.
            while f'\n  "step": "{step}"' not in (tmp_path / "report.json").read_text():
                assert not ends, "the step was never taken"
                await w.clock.sleep(0.5)
            await w.clock.sleep(7)
            before = written(tmp_path)
            if how == "kill":
                process.cancel_scope.cancel()
            elif not ends:
                signal.raise_signal(signal.SIGINT)
        report = written(tmp_path)
        assert left_is_true(w, report), (report["step"], report["left"])
        if how == "^C":
            assert (ends[0].code, report["state"]) == (130, "stopped")
            assert "was interrupted in the step" in ends[0].err
            assert all(left in ends[0].err for left in report["left"].values())
        elif before["state"] == "running":
            assert report["step"] == before["step"]


@staged(quick, snapshot_seconds=60)
async def test_a_snapshot_of_the_same_database_does_not_take_the_runs_version(
    w: World, tmp_path: Path
) -> None:
    desk = at(w, tmp_path, SQUARECLOUD_FIRST_POLL_AFTER="1m")
    ours: list[Any] = []

    async def up() -> None:
        await w.clock.sleep(30)
        async with desk.invocation(Terminal(), Terminal()).session() as session:
            ours.append(
                await create(session, SnapshotInputs(DATABASE), Row(), "urn:ours")
            )

    async with anyio.create_task_group() as group:
        group.start_soon(up)
        await probed(desk, tmp_path)
    left = str(written(tmp_path)["left"])
    assert ours[0].version_id in [post.version_id for post in w.posts if post.accepted]
    assert ours[0].version_id not in left


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@staged(quick, snapshot_seconds=300)
async def test_a_run_waits_for_no_snapshot_of_another(
    w: World, tmp_path: Path, when: str
) -> None:
    desk = at(w, tmp_path)
    take = partial(desk.types, "create", DATABASE)
    async with anyio.create_task_group() as process:
        if when == "before":
            process.start_soon(take)
            await w.clock.sleep(100)
            process.cancel_scope.cancel()
        else:
            process.start_soon(fails, w, tmp_path, STOPPED)
            await w.clock.sleep(1)  # the run reads for seconds before its first request
            process.start_soon(take)
    if when == "before":
        await fails(w, tmp_path, STOPPED)
    assert len(w.posts) == 1


@pytest.mark.parametrize(
    "fault", [{"no_connect": True}, {"html": 503}, {"drop": True}, None], ids=str
)
@staged(world, plan_memory_mb=256)
async def test_a_service_that_does_not_answer_and_a_small_plan_get_no_create(
    w: World, tmp_path: Path, fault: dict[str, Any] | None
) -> None:
    if fault is not None:
        w.fault(**fault, times=None)
    small = "allows 2 snapshots in 24 hours, and this run takes 2"
    await fails(w, tmp_path, "Nothing was started.", "" if fault else small)
    assert not w.posts


@staged(quick)
async def test_a_lost_answer_is_resolved_by_the_listing(
    w: World, tmp_path: Path
) -> None:
    w.fault(kind="create", when="after", drop=True)
    report = (await probed(at(w, tmp_path), tmp_path)).done.json
    assert len([post for post in w.posts if post.accepted]) == 2
    assert all("the service keeps it" in left for left in report["left"].values())
    assert left_is_true(w, report)


@pytest.mark.parametrize("trouble", ["report", "ledger"])
@staged(world)
async def test_what_cannot_be_written_down_is_not_sent(
    w: World, tmp_path: Path, trouble: str
) -> None:
    desk = at(w, tmp_path)
    store = Store(w.clock)
    if trouble == "report":
        file = "/proc/nowhere/report.json"
        ended = await desk.types("probe", DATABASE, "--yes", DATABASE, "--report", file)
        ended.failed("report cannot be written to")
        assert not w.emulator.journal
    else:
        desk.place = store.bucket
        store.refuses = "no rights"
        nothing = "nothing is left at the service"
        assert (await fails(w, tmp_path, "no rights", nothing, desk=desk))["left"] == {}
    assert not w.posts


# Secrets ---------------------------------------------------------------------------------------------------------------


@staged(quick, databases=ALL, cache_world="kept")
async def test_no_output_holds_a_secret(w: World, tmp_path: Path) -> None:
    key = w.emulator.settings.api_key
    code = '{"status":"error","code":"' + key + '","message":"' + key + '"}'
    w.fault(kind="status", body=code, body_status=400, headers={"X-" + key: key})
    shown = ""
    file = tmp_path / "report.json"
    for words in (["--json"], []):
        confirmed = [word for one in ALL for word in ("--yes", one)]
        typed = ("probe", DATABASE, *confirmed, "--report", str(file), *OPTIONS, *words)
        ended = await at(w, tmp_path).types(*typed)
        shown += ended.out + ended.err + file.read_text()
        await w.clock.sleep(86400)
    for secret in (key, key.lower(), "Signature=", "AWSAccessKeyId", "Expires="):
        assert secret not in shown
    for stored in (w.emulator.snapshots(DATABASE))[:2]:
        assert str(stored.version_id) in shown, "its version is no secret"
