"""What doctor finds and advises, in the words of a create; it sends five requests at most, never a POST, and shows nothing secret."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.cli.setup import doctor
from pulumi_snapshots.cli.setup.doctor import (
    OLDEST_ENGINE,
    UNSHARED,
    Finding,
    look_at_installation,
)
from pulumi_snapshots.run import settings
from pulumi_snapshots.service import errors as refusals
from tests.cli.typed import Desk, Ended
from tests.support.ledger_places import NAME, Store
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, START, World, world
from tools.engine import OLDEST_INSTALLED

HERE = [Finding("package", "ok", "pulumi-snapshots 1.2.3")]


async def in_thread(work: Any, *arguments: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return HERE if work is look_at_installation else work(*arguments)


def desk_of(w: World, state: Path, **environment: str) -> Desk:
    desk = Desk(w, state, in_thread=in_thread)
    desk.environment |= environment
    return desk


def findings(ended: Ended) -> dict[str, tuple[str, str, str]]:
    """State, found and advice of each check; the last of several attempts."""
    return {
        one["check"]: (one["state"], one["found"], one["advice"]) for one in ended.json
    }


def problem(found: dict[str, tuple[str, str, str]], check: str, *words: str) -> str:
    """What a check says that is a problem; it has these words."""
    state, said, _ = found[check]
    assert (state, [each for each in words if each not in said]) == ("problem", []), (
        said
    )
    return said


async def checked(desk: Desk) -> dict[str, tuple[str, str, str]]:
    before = len(desk.w.emulator.journal)
    ended = await desk.types("doctor", "--json")
    assert ended.code == (
        1 if any(one["state"] == "problem" for one in ended.json) else 0
    )
    sent = desk.w.emulator.journal[before:]
    assert len(sent) <= 5
    assert {entry.method for entry in sent} <= {"GET"}
    return findings(ended)


@staged(world)
async def test_doctor_needs_four_requests_if_all_is_well(
    w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=5))
    ended = (await desk_of(w, tmp_path).types("doctor")).done
    assert [entry.kind for entry in w.emulator.journal] == [
        "me",
        "service status",
        "list account",
        "database",
    ]
    assert [line.split()[0] for line in ended.out.splitlines() if line[0] != " "] == [
        *("ok", "ok", "ok", "ok", "?", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok")
    ]
    assert "15 of 16 left" in ended.out
    assert "at most 30 min old" in ended.out
    assert "pulumi-snapshots 1.2.3" in ended.out
    assert ended.err == ""


def full(w: World) -> None:
    """Four snapshots in the last 24 hours, one before, and an automatic one, which does not count."""
    for hours in (30, 20, 10, 5, 3, 1):
        origin: Any = "automatic" if hours == 3 else "manual"
        w.emulator.add_snapshot(
            DATABASE, modified=START - timedelta(hours=hours), origin=origin
        )


def one(w: World) -> None:
    """A snapshot."""
    w.emulator.add_snapshot(DATABASE)


KEY_REFUSED = "in SQUARECLOUD_API_KEY, never as an argument.\nmore: squarecloud-snapshots explain key-refused"
# 24 hours after the one of 20 hours ago.
USED_UP = "0 of 4 left, as far as the listing shows A slot frees at about 2026-03-01T16:00:00Z"
NO_ACCOUNT = {"kind": "me", "status": 403, "code": "PERMISSION_DENIED"}
BLOCKED = {"kind": "list account", "status": 429, "code": "RATE_LIMITED"}
GONE = {"kind": "database", "status": 404, "code": "DATABASE_NOT_FOUND"}
WRONG = {"SQUARECLOUD_API_KEY": "wrong-" + "k" * 64}
NOWHERE = {"SQUARECLOUD_API_URL": "https://nowhere.test/v2"}
WHAT_IS_LEFT = (
    "key = ok accepted; scope account:read = note ; scope snapshots:read = ok ; plan = unknown ; quota = unknown ; "
    "scope databases:read = unknown no database is known"
)
FINDINGS: dict[str, tuple[dict[str, Any], str]] = {
    # The service, its fault and the environment, and of each check its state and words of finding or advice.
    "wrong key": (
        WRONG,
        f"key = problem {KEY_REFUSED}; quota = unknown are needed; package = ok pulumi-snapshots 1.2.3",
    ),
    "no key": (
        {"SQUARECLOUD_API_KEY": ""},
        "key = problem explain missing-key; package = ok ",
    ),
    "bad setting": (
        {"SQUARECLOUD_POLL_EVERY": "x"},
        "settings = problem SQUARECLOUD_POLL_EVERY must be a duration",
    ),
    "no network": (NOWHERE, "service = problem so nothing was sent; outage = unknown "),
    "broken service": (
        {"fault": {"html": 502}},
        "service = problem 502; outage = unknown ",
    ),
    "no account": ({"fault": NO_ACCOUNT, "empty": True}, WHAT_IS_LEFT),
    "free plan": (
        {"plan": "free"},
        "scope snapshots:read = note The account's plan does not include this",
    ),
    "blocked": (
        {"fault": BLOCKED},
        "scope snapshots:read = note was requested too often and is blocked",
    ),
    "a deleted database": (
        {"fault": GONE},
        "scope databases:read = unknown This account has no such database",
    ),
    "used-up quota": ({"plan_memory_mb": 512}, f"quota = problem {USED_UP}"),
    "right clock": ({}, "clock = ok within 1 min"),
    "clock behind": (
        {"clock_offset_seconds": 7200},
        "clock = note 2 h behind the service's Set the clock",
    ),
    "clock ahead": (
        {"clock_offset_seconds": -7200},
        "clock = note 2 h ahead of the service's Set the clock",
    ),
}


@pytest.mark.parametrize("case", FINDINGS)
@virtual
async def test_doctor_names_what_stands_in_the_way_and_what_to_do(
    tmp_path: Path, case: str
) -> None:
    given, expected = FINDINGS[case]
    environment = {name: value for name, value in given.items() if name.isupper()}
    async with world(
        **{
            name: given[name]
            for name in given.keys() - environment - {"fault", "empty"}
        }
    ) as w:
        if "fault" in given:
            w.fault(times=None, **given["fault"])
        if "empty" not in given:
            (full if case == "used-up quota" else one)(w)
        found = await checked(desk_of(w, tmp_path, **environment))
        for check, said in (part.split(" = ") for part in expected.split("; ")):
            state, _, words = said.partition(" ")
            assert (found[check][0], words in " ".join(found[check][1:])) == (
                state,
                True,
            )
        if next(iter(found)) != "key" or found["key"][0] == "problem":
            assert len(w.emulator.journal) <= 2, (
                "no answer, or a refused key, is enough"
            )


SCOPES = {
    "account:read snapshots:read databases:read": "ok ok ok",
    "snapshots:read databases:read": "note ok ok",
    "account:read snapshots:read": "ok ok problem",
    "account:read databases:read": "ok problem ok",
    "databases:read": "note problem unknown",  # no database is known to check it with
}


@pytest.mark.parametrize("held", SCOPES)
@virtual
async def test_each_scope_of_the_key_is_reported(tmp_path: Path, held: str) -> None:
    async with world(scopes=frozenset(held.split())) as w:
        one(w)
        found = await checked(desk_of(w, tmp_path))
        assert found["key"] == ("ok", "accepted", "")
        for name, state in zip(
            ("account:read", "snapshots:read", "databases:read"),
            SCOPES[held].split(),
            strict=True,
        ):
            assert found[f"scope {name}"][0] == state
            lacks = f"API key lacks the scope {name}" in found[f"scope {name}"][1]
            assert lacks is (name not in held and state != "unknown")


# The ledger --------------------------------------------------------------------------------------------------------------


@staged(world)
async def test_doctor_checks_the_place_of_the_ledger(w: World, tmp_path: Path) -> None:
    store = Store(w.clock)
    desk = desk_of(w, tmp_path)
    shared = tmp_path / "shared"
    desk.place = store.bucket
    good = "shared: s3://shared/here/service.ledger.json can be read and written, and a stale write is refused"
    assert (await checked(desk))["ledger"] == ("ok", good, UNSHARED)
    store.ignores_marks = True
    store_says = (
        "SQUARECLOUD_SHARED_STATE cannot be used",
        "Use a store whose conditional writes work",
    )
    problem(await checked(desk), "ledger", *store_says)
    store.ignores_marks = False
    store.overwrite(NAME, b"?")
    problem(await checked(desk), "ledger", "it is damaged, or another program's")
    assert (await checked(desk))["runs"] == ("unknown", "the ledger cannot be read", "")
    # A folder that machines share, and one that is none.
    desk = desk_of(w, tmp_path, SQUARECLOUD_SHARED_STATE=str(shared))
    problem(await checked(desk), "ledger", "there is no such folder")
    shared.mkdir()
    assert re.fullmatch(
        rf"shared: {shared}/\w+\.ledger can be read and written",
        (await checked(desk))["ledger"][1],
    )
    (tmp_path / "state").write_text("a file where the folder should be")
    problem(
        await checked(desk_of(w, tmp_path / "state")),
        "ledger",
        "Set SQUARECLOUD_STATE_DIR",
    )


@staged(world)
async def test_a_block_that_was_lifted_early_is_forgotten_on_request(
    w: World, tmp_path: Path
) -> None:
    store = Store(w.clock)
    desk = desk_of(w, tmp_path)
    desk.place = store.bucket
    w.emulator.block(1800)
    assert (await checked(desk))["service"][0] == "problem"
    w.emulator.block(0)
    before = len(w.requests("me"))
    problem(await checked(desk), "service", ": not sent, since another")
    assert (
        "`squarecloud-snapshots doctor --forget-block`"
        in (await checked(desk))["service"][2]
    )
    assert len(w.requests("me")) == before, (
        "nothing is sent while a block is remembered"
    )
    store.refuses = "no right to write"
    state, text, _ = findings(await desk.types("doctor", "--json", "--forget-block"))[
        "block"
    ]
    assert (state, "no right to write" in text) == ("problem", True)
    store.refuses = ""
    for said in (
        "forgotten: it was noted until 2026-03-01T12:30:",
        "no run knows of one",
    ):
        found = findings(await desk.types("doctor", "--json", "--forget-block"))
        assert found["block"][1].startswith(said)
        assert found["key"][0] == "ok"
    assert "block" not in await checked(desk)


@staged(world, snapshot_seconds=300)
async def test_doctor_counts_what_is_under_way_and_notes_what_has_no_end(
    w: World, tmp_path: Path
) -> None:
    desk = desk_of(w, tmp_path)
    assert (await checked(desk))["runs"] == ("ok", "none is under way", "")
    await desk.types("create", DATABASE, "--timeout", "2m")
    state, text, advice = (await checked(desk))["runs"]
    assert (state, text) == ("ok", "1 under way or without a known end")
    assert "`squarecloud-snapshots runs`" in advice
    await w.clock.sleep(3 * 3600)
    assert (await checked(desk))["runs"][0] == "note"


@staged(world, snapshot_seconds=1)
async def test_snapshots_missing_from_an_old_page_count_as_used(
    w: World, tmp_path: Path
) -> None:
    desk = desk_of(w, tmp_path)
    assert (await checked(desk))["quota"][1].startswith("16 of 16")
    await desk.types("create", DATABASE)
    assert (await checked(desk))["quota"][1].startswith("15 of 16")


# What is installed ---------------------------------------------------------------------------------------------------


def installation(environment: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    return {
        one.check: (one.state, one.found, one.advice)
        for one in look_at_installation(environment)
    }


PULUMIS = {
    None: "note no pulumi on PATH",
    "echo v3.274.1": "ok pulumi v3.274.1",
    "echo v3.100.0": "problem pulumi v3.100.0",
    "echo dev": "unknown 'dev'",
    "exit 3": "problem `pulumi version` failed",
    "echo $SQUARECLOUD_API_KEY": "unknown ''",
}


@pytest.mark.parametrize("script", PULUMIS)
def test_doctor_checks_the_version_of_the_engine(
    tmp_path: Path, script: str | None
) -> None:
    if script is not None:
        (tmp_path / "pulumi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pulumi").chmod(0o755)
    found = installation(
        {"PATH": str(tmp_path), "HOME": str(tmp_path), "SQUARECLOUD_API_KEY": "secret"}
    )["engine"]
    state, _, said = PULUMIS[script].partition(" ")
    assert (found[0], said in found[1], "secret" in str(found)) == (state, True, False)


def test_doctor_and_tools_name_the_same_oldest_engine() -> None:
    assert OLDEST_ENGINE == OLDEST_INSTALLED


def test_a_plugin_of_another_version_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path)}
    program = tmp_path / "pulumi-resource-squarecloud"
    assert installation(environment)["plugin"][:2] == ("note", "none is installed")
    program.touch(0o755)
    assert installation({**environment, "PATH": str(tmp_path)})["plugin"] == (
        "ok",
        f"{program} is on PATH",
        "",
    )
    (tmp_path / ".pulumi" / "plugins" / "resource-squarecloud-v0.0.1").mkdir(
        parents=True
    )
    state, said, _ = installation(environment)["plugin"]
    assert (state, "0.0.1 is installed, this package is" in said) == ("note", True)
    monkeypatch.setattr(doctor, "version", lambda _: "0.0.1")
    assert (
        installation({"PATH": "", "PULUMI_HOME": str(tmp_path / ".pulumi")})["plugin"][
            0
        ]
        == "ok"
    )


def test_doctor_shows_which_credentials_buckets_would_use(tmp_path: Path) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path)}
    secret = "neverShown"
    found = installation(environment)["s3://"]
    assert (found[0], "the identity of this machine" in found[1]) == ("note", True)
    keys = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": "https://r2.example",
    }
    every = installation({**environment, **keys})
    assert every["s3://"][:2] == (
        "ok",
        "credentials of S3: what is in AWS_ACCESS_KEY_ID, endpoint https://r2.example",
    )
    assert {"gs://", "az://"} < every.keys()
    assert secret not in str(every)


# A stack --------------------------------------------------------------------------------------------------------------

PULUMI = """#!/bin/sh
case "$*" in
"config --json --stack prod --non-interactive") cat {folder}/config.json;;
"config get squarecloud:apiKey --stack prod --non-interactive") cat {folder}/key;;
"whoami --json --non-interactive") echo '{{"user": "me", "url": "s3://team/states?region=x"}}';;
*) echo "error: no stack named '$4' found" >&2; exit 6;;
esac
"""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    settings._logged_in.cache_clear()


def stack_of(w: World, folder: Path, **config: str) -> Desk:
    """A desk with a stack `prod` whose configuration is given; its environment has no key."""
    desk = desk_of(w, folder)
    (folder / "key").write_text(desk.environment.pop("SQUARECLOUD_API_KEY") + "\n")
    every = {
        f"squarecloud:{name}": {"value": value, "secret": False}
        for name, value in config.items()
    }
    every |= {
        "squarecloud:apiKey": {"secret": True},
        "app:size": {"value": "3", "secret": False},
    }
    (folder / "config.json").write_text(json.dumps(every))
    (folder / "pulumi").write_text(PULUMI.format(folder=folder))
    (folder / "pulumi").chmod(0o755)
    desk.environment |= {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}
    return desk


async def found_by(
    desk: Desk, *options: str, code: int = 0
) -> dict[str, tuple[str, str, str]]:
    ended = await desk.types("doctor", "--stack", "prod", "--json", *options)
    assert (ended.code, desk.w.emulator.settings.api_key in ended.out + ended.err) == (
        code,
        False,
    ), ended.out
    return findings(ended)


@staged(world)
async def test_doctor_uses_the_key_and_the_place_of_the_stack(
    w: World, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    found = await found_by(
        stack_of(w, tmp_path, sharedState=str(shared)), "--two-machines"
    )
    assert found["stack"] == ("ok", "prod: its configuration is used", "")
    assert found["key"][:2] == ("ok", "accepted")
    assert found["ledger"][0] == "ok"
    assert found["ledger"][1].startswith(f"shared: {shared}/")
    assert found["ledger"][2] == UNSHARED
    assert found["two machines"][1].startswith(
        "a second machine resumed what a killed run had requested"
    )
    listed = await stack_of(w, tmp_path, sharedState=str(shared)).types(
        "runs", "--stack", "prod"
    )
    assert "nothing is under way, as far as " + str(shared) in listed.done.err


@staged(world)
async def test_a_wrong_key_is_to_be_set_where_the_stack_has_it(
    w: World, tmp_path: Path
) -> None:
    desk = stack_of(w, tmp_path)
    (tmp_path / "key").write_text("wrong-" + "k" * 64)
    said = problem(
        await found_by(desk, code=1),
        "key",
        "`pulumi config set --secret squarecloud:apiKey --stack prod`",
    )
    assert "SQUARECLOUD_API_KEY" not in said


@staged(world)
async def test_doctor_says_that_nothing_is_shared_and_what_could_be(
    w: World, tmp_path: Path
) -> None:
    desk = stack_of(w, tmp_path)
    found = await found_by(desk)
    assert found["ledger"][0] == "ok"
    assert found["ledger"][1].startswith(f"this machine only: {tmp_path}")
    desk.environment["PULUMI_BACKEND_URL"] = "s3://team/states"
    found = await found_by(desk, "--two-machines", code=1)
    assert (
        found["ledger"][2]
        == "With SQUARECLOUD_SHARED_STATE=backend, the ledger is kept in s3://team/states."
    )
    assert found["two machines"][:2] == (
        "problem",
        "no second machine sees what this one has requested",
    )


@staged(world)
async def test_doctor_says_what_a_create_would_say(w: World, tmp_path: Path) -> None:
    """Of a folder that is not there, in a backend that is not the one that the CLI uses, and of a setting."""
    missing = {"SQUARECLOUD_SHARED_STATE": str(tmp_path / "missing")}
    desk = stack_of(w, tmp_path, sharedState=str(tmp_path / "missing"))
    said = problem(
        await found_by(desk, code=1), "ledger", f"mkdir -p {tmp_path}/missing"
    )
    created = (
        await Desk(w, tmp_path, environment=missing).types("create", DATABASE)
    ).failed()
    _error, not_started, *hints = created.err.splitlines()
    assert not_started.startswith("Nothing was started")
    assert said.splitlines()[1:] == hints, "one error, in the same words"
    assert (
        len(
            [
                line
                for line in created.err.splitlines()
                if line.startswith(("Error", "warning"))
            ]
        )
        == 1
    )
    found = await found_by(stack_of(w, tmp_path, pollEvery="never"), code=1)
    problem(found, "settings", "squarecloud:pollEvery must be a duration")


@staged(world)
async def test_doctor_notices_that_the_cli_uses_another_backend_than_runs_would_see(
    w: World, tmp_path: Path
) -> None:
    desk = stack_of(w, tmp_path, sharedState="backend")
    desk.environment["PULUMI_BACKEND_URL"] = "s3://other"
    words = "Stack prod is in the backend s3://team/states, and its runs would take s3://other for that"
    problem(await found_by(desk, code=1), "stack", words, "Set PULUMI_BACKEND_URL")
    store = Store(w.clock)
    desk.place = store.bucket
    desk.environment["PULUMI_BACKEND_URL"] = "s3://team/states"
    found = await found_by(desk, "--two-machines")
    assert found["ledger"][1].startswith("shared: ")
    assert found["two machines"][0] == "ok"
    assert sorted(store.held) == [
        "check",
        "rehearsal.ledger.json",
        "service.ledger.json",
    ]
    assert not json.loads(store.held["rehearsal.ledger.json"].content)["attempts"], (
        "it leaves nothing"
    )


@staged(world)
async def test_a_stack_that_cannot_be_read_is_a_problem_in_the_words_of_the_cli(
    w: World, tmp_path: Path
) -> None:
    desk = stack_of(w, tmp_path)
    ended = (await desk.types("doctor", "--stack", "nope", "--json")).failed()
    one, _package = ended.json
    assert (
        "`pulumi config --json --stack nope` failed: no stack named 'nope' found"
        in one["found"]
    )
    desk.environment["PATH"] = ""
    ended = (await desk.types("runs", "--stack", "prod")).failed(
        "Pulumi is not on PATH"
    )
    assert ended.out == ""


@staged(world)
async def test_doctor_names_what_a_bucket_does_not_allow(
    w: World, tmp_path: Path
) -> None:
    store = Store(w.clock, unlisted=True)
    desk = stack_of(w, tmp_path)
    desk.place = store.bucket
    problem(await found_by(desk, code=1), "ledger", "listing the bucket (s3:ListBucket")
    store.unlisted = False
    assert (await found_by(desk))["ledger"][2] == UNSHARED
    store.unlisted = True
    state, said, advice = (await found_by(desk))["ledger"]
    assert (state, "the bucket cannot be listed" in said) == ("note", True)
    assert "looks like a refusal" in advice
    store.refuses = "AccessDenied"
    problem(await found_by(desk, code=1), "ledger")


@staged(world)
async def test_a_variable_that_nothing_reads_is_named_with_the_one_that_was_meant(
    w: World, tmp_path: Path
) -> None:
    assert "variable" not in await checked(desk_of(w, tmp_path))
    found = await checked(desk_of(w, tmp_path, SQUARECLOUD_APIKEY="secret"))
    says = "SQUARECLOUD_APIKEY is set, and nothing reads it"
    assert found["variable"] == ("note", says, "Did you mean SQUARECLOUD_API_KEY?")
    found = await checked(desk_of(w, tmp_path, SQUARECLOUD_TIMEOUTS="3"))
    assert found["variable"][2] == "", "nothing is like it"


@staged(world)
async def test_the_emulators_own_variables_are_no_slips(
    w: World, tmp_path: Path
) -> None:
    desk = desk_of(w, tmp_path, SQUARECLOUD_EMULATOR_PORT="8080")
    assert "variable" not in await checked(desk)


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ({"status": "online"}, "ok", "the service reports none"),
        (
            {"status": "degraded", "message": "clusters are slow"},
            "note",
            "the service itself reports one (degraded: clusters are slow)",
        ),
        ({"status": "?"}, "unknown", 'the service says "?"'),
        ({}, "unknown", "the service does not say"),
    ],
    ids=["online", "degraded", "no known word", "nothing"],
)
@staged(world)
async def test_an_outage_that_the_service_reports_is_a_note(
    w: World, tmp_path: Path, answer: dict[str, str], state: str, said: str
) -> None:
    w.fault(kind="service status", body=json.dumps(answer), times=None)
    found = (await checked(desk_of(w, tmp_path)))["outage"]
    assert found[:2] == (state, said)
    assert bool(found[2]) is (state == "note")


@staged(world)
async def test_a_key_that_cannot_restore_is_a_problem(w: World, tmp_path: Path) -> None:
    scopes = frozenset(
        {refusals.SNAPSHOTS_READ, refusals.SNAPSHOTS_WRITE, refusals.ACCOUNT_READ}
    )
    w.emulator.settings = replace(w.emulator.settings, scopes=scopes)
    problem(
        await checked(desk_of(w, tmp_path)), "scope databases:read", "lacks the scope"
    )


@pytest.mark.parametrize(
    ("days", "state", "says"),
    [
        (300, "ok", "; ends on 2026-12-26T12:00:00Z, in 300 days"),
        (
            3,
            "note",
            "; ends on 2026-03-04T12:00:00Z, in 3 days: then the service keeps the newest",
        ),
        (
            -2,
            "note",
            "; ended on 2026-02-27T12:00:00Z: then the service keeps the newest",
        ),
        (None, "ok", "snapshots in any 24 hours"),
    ],
)
@virtual
async def test_doctor_shows_the_end_of_the_plan_and_what_is_kept_after_it(
    tmp_path: Path, days: int | None, state: str, says: str
) -> None:
    ends = None if days is None else START + timedelta(days=days)
    async with world(plan_ends_at=ends) as w:
        ended = (await desk_of(w, tmp_path).types("doctor", "--json")).done
        found_state, found, advice = findings(ended)["plan"]
        assert found_state == state
        assert says in found
        assert ("; end" in found) is (days is not None)
        assert ("an archive stays in your own storage" in advice) is (state == "note")
