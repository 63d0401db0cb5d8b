"""What doctor finds and advises; it sends four requests at most, and never a POST."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.cli.setup import doctor
from pulumi_snapshots.cli.setup.doctor import OLDEST_ENGINE, UNSHARED, Finding, look_at_installation
from tests.cli.typed import Desk, Ended, Terminal
from tests.support.ledger_places import NAME, Store
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, START, World, world
from tools.engine import OLDEST_INSTALLED

HERE = [Finding("package", "ok", "pulumi-snapshots 1.2.3")]


async def installed_here(_call: Any, *_: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return HERE


def desk_of(w: World, state: Path, **environment: str) -> Desk:
    desk = Desk(w, state, in_thread=installed_here)
    desk.environment |= environment
    return desk


def findings(ended: Ended) -> dict[str, tuple[str, str, str]]:
    """State, found and advice of each check; the last of several attempts."""
    return {one["check"]: (one["state"], one["found"], one["advice"]) for one in ended.json}


async def checked(desk: Desk) -> dict[str, tuple[str, str, str]]:
    before = len(desk.w.emulator.journal)
    ended = await desk.types("doctor", "--json")
    assert ended.code == (1 if any(one["state"] == "problem" for one in ended.json) else 0)
    sent = desk.w.emulator.journal[before:]
    assert len(sent) <= 5
    assert {entry.method for entry in sent} <= {"GET"}
    return findings(ended)


@staged(world)
async def test_doctor_needs_four_requests_if_all_is_well(w: World, tmp_path: Path) -> None:
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(minutes=5))
    ended = (await desk_of(w, tmp_path).types("doctor")).done
    assert [entry.kind for entry in w.emulator.journal] == ["me", "service status", "list account", "database"]
    assert [line.split()[0] for line in ended.out.splitlines() if line[0] != " "] == [
        *("ok", "ok", "ok", "ok", "?", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok")
    ]
    assert "15 of 16 left" in ended.out
    assert "at most 30 min old" in ended.out
    assert "pulumi-snapshots 1.2.3" in ended.out
    assert ended.err == ""


def full(w: World) -> None:
    """Four snapshots in the last 24 hours, one before, and an automatic one, which does not count."""
    for hours in (30, 20, 10, 5, 1):
        w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=hours))
    w.emulator.add_snapshot(DATABASE, modified=START - timedelta(hours=3), origin="automatic")


def one(w: World) -> None:
    """A snapshot."""
    w.emulator.add_snapshot(DATABASE)


KEY_REFUSED = "in SQUARECLOUD_API_KEY, never as an argument.\nmore: squarecloud-snapshots explain key-refused"
# 24 hours after the one of 20 hours ago.
USED_UP = "0 of 4 left, as far as the listing shows A slot frees at about 2026-03-01T16:00:00Z"
NO_ACCOUNT = {"kind": "me", "status": 403, "code": "PERMISSION_DENIED"}
BLOCKED = {"kind": "list account", "status": 429, "code": "RATE_LIMITED"}
GONE = {"kind": "database", "status": 404, "code": "DATABASE_NOT_FOUND"}
FINDINGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    # The service, its fault and the environment, and of each check its state and words of finding or advice.
    "wrong key": (
        {"SQUARECLOUD_API_KEY": "wrong-" + "k" * 64},
        {"key": f"problem {KEY_REFUSED}", "quota": "unknown are needed", "package": "ok pulumi-snapshots 1.2.3"},
    ),
    "no key": ({"SQUARECLOUD_API_KEY": ""}, {"key": "problem explain missing-key", "package": "ok "}),
    "bad setting": ({"SQUARECLOUD_POLL_EVERY": "x"}, {"settings": "problem SQUARECLOUD_POLL_EVERY must be a duration"}),
    "no network": (
        {"SQUARECLOUD_API_URL": "https://nowhere.test/v2"},
        {"service": "problem so nothing was sent", "outage": "unknown "},
    ),
    "broken service": ({"fault": {"html": 502}}, {"service": "problem 502", "outage": "unknown "}),
    "no account": (
        {"fault": NO_ACCOUNT, "empty": True},
        {
            "key": "ok accepted",
            "scope account:read": "note ",
            "scope snapshots:read": "ok ",
            "plan": "unknown ",
            "scope databases:read": "unknown no database is known",
            "quota": "unknown ",
        },
    ),
    "free plan": ({"plan": "free"}, {"scope snapshots:read": "note The account's plan does not include this"}),
    "blocked": ({"fault": BLOCKED}, {"scope snapshots:read": "note was requested too often and is blocked"}),
    "a deleted database": ({"fault": GONE}, {"scope databases:read": "unknown This account has no such database"}),
    "used-up quota": ({"plan_memory_mb": 512}, {"quota": f"problem {USED_UP}"}),
    "right clock": ({}, {"clock": "ok within 1 min"}),
    "clock behind": ({"clock_offset_seconds": 7200}, {"clock": "note 2 h behind the service's Set it"}),
    "clock ahead": ({"clock_offset_seconds": -7200}, {"clock": "note 2 h ahead of the service's Set it"}),
}


@pytest.mark.parametrize("case", FINDINGS)
@virtual
async def test_doctor_names_what_stands_in_the_way_and_what_to_do(tmp_path: Path, case: str) -> None:
    given, expected = FINDINGS[case]
    environment = {name: value for name, value in given.items() if name.isupper()}
    async with world(**{name: given[name] for name in given.keys() - environment - {"fault", "empty"}}) as w:
        if "fault" in given:
            w.fault(times=None, **given["fault"])
        if "empty" not in given:
            (full if case == "used-up quota" else one)(w)
        found = await checked(desk_of(w, tmp_path, **environment))
        for check, said in expected.items():
            state, _, words = said.partition(" ")
            assert found[check][0] == state
            assert words in " ".join(found[check][1:])
        if next(iter(found)) != "key" or found["key"][0] == "problem":
            assert len(w.emulator.journal) <= 2, "no answer, or a refused key, is enough"


SCOPES = {
    "account:read snapshots:read databases:read": "ok ok ok",
    "snapshots:read databases:read": "note ok ok",
    "account:read snapshots:read": "ok ok note",
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
        for name, state in zip(("account:read", "snapshots:read", "databases:read"), SCOPES[held].split(), strict=True):
            assert found[f"scope {name}"][0] == state
            lacks = f"API key lacks the scope {name}" in found[f"scope {name}"][1]
            assert lacks is (name not in held and state != "unknown")


# The ledger --------------------------------------------------------------------------------------------------------------


@staged(world)
async def test_doctor_checks_the_place_of_the_ledger(w: World, tmp_path: Path) -> None:
    store, desk, shared = Store(w.clock), desk_of(w, tmp_path), tmp_path / "shared"
    desk.place = store.bucket
    good = "shared: s3://shared/here/service.ledger.json can be read and written, and a stale write is refused"
    assert (await checked(desk))["ledger"] == ("ok", good, UNSHARED)
    store.ignores_marks = True
    state, text, _ = (await checked(desk))["ledger"]
    assert (state, "SQUARECLOUD_SHARED_STATE cannot be used" in text) == ("problem", True)
    assert "Use a store whose conditional writes work" in text
    store.ignores_marks = False
    store.overwrite(NAME, b"?")
    found = await checked(desk)
    assert "it is damaged, or another program's" in found["ledger"][1]
    assert found["runs"] == ("unknown", "the ledger cannot be read", "")
    # A folder that machines share, and one that is none.
    desk = desk_of(w, tmp_path, SQUARECLOUD_SHARED_STATE=str(shared))
    state, text, _ = (await checked(desk))["ledger"]
    assert (state, "there is no such folder" in text) == ("problem", True)
    shared.mkdir()
    assert re.fullmatch(rf"shared: {shared}/\w+\.ledger can be read and written", (await checked(desk))["ledger"][1])
    (tmp_path / "state").write_text("a file where the folder should be")
    state, text, _ = (await checked(desk_of(w, tmp_path / "state")))["ledger"]
    assert (state, "Set SQUARECLOUD_STATE_DIR" in text) == ("problem", True)
    assert "Nothing was started: what is sent must be written down there first." in text


@staged(world)
async def test_a_block_that_was_lifted_early_is_forgotten_on_request(w: World, tmp_path: Path) -> None:
    store, desk = Store(w.clock), desk_of(w, tmp_path)
    desk.place = store.bucket
    w.emulator.block(1800)
    assert (await checked(desk))["service"][0] == "problem"
    w.emulator.block(0)
    before = len(w.requests("me"))
    state, text, advice = (await checked(desk))["service"]
    assert (state, len(w.requests("me"))) == ("problem", before), "nothing is sent while a block is remembered"
    assert ": not sent, since another" in text
    assert "`squarecloud-snapshots doctor --forget-block`" in advice
    store.refuses = "no right to write"
    state, text, _ = findings(await desk.types("doctor", "--json", "--forget-block"))["block"]
    assert (state, "no right to write" in text) == ("problem", True)
    store.refuses = ""
    for said in ("forgotten: runs took it to last until 2026-03-01T12:30:", "no run remembers one"):
        found = findings(await desk.types("doctor", "--json", "--forget-block"))
        assert found["block"][1].startswith(said)
        assert found["key"][0] == "ok"
    assert "block" not in await checked(desk)


@staged(world, snapshot_seconds=300)
async def test_doctor_counts_what_is_under_way_and_notes_what_has_no_end(w: World, tmp_path: Path) -> None:
    desk = desk_of(w, tmp_path)
    assert (await checked(desk))["runs"] == ("ok", "none is under way", "")
    await desk.types("create", DATABASE, "--timeout", "2m")
    state, text, advice = (await checked(desk))["runs"]
    assert (state, text) == ("ok", "1 under way or without a known end")
    assert "`squarecloud-snapshots runs`" in advice
    await w.clock.sleep(3 * 3600)
    assert (await checked(desk))["runs"][0] == "note"


@staged(world, snapshot_seconds=1)
async def test_snapshots_missing_from_an_old_page_count_as_used(w: World, tmp_path: Path) -> None:
    desk = desk_of(w, tmp_path)
    assert (await checked(desk))["quota"][1].startswith("16 of 16")
    await desk.types("create", DATABASE)
    assert (await checked(desk))["quota"][1].startswith("15 of 16")


@staged(world)
async def test_a_narrow_terminal_shows_every_finding(w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_snapshots.cli.terminal.output.width_of", lambda _: 80)
    out = (await desk_of(w, tmp_path).types("doctor", out=Terminal())).done.out
    assert re.search(r"\?\s+scope snapshots:write\s+only a POST would show it, and none is sent\n", out)
    assert max(map(len, out.splitlines())) <= 80


# What is installed ---------------------------------------------------------------------------------------------------


def installation(environment: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    return {one.check: (one.state, one.found, one.advice) for one in look_at_installation(environment)}


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        (None, "note", "no pulumi on PATH"),
        ("echo v3.274.1", "ok", "pulumi v3.274.1"),
        ("echo v3.100.0", "problem", "pulumi v3.100.0"),
        ("echo dev", "unknown", "'dev'"),
        ("exit 3", "problem", "`pulumi version` failed"),
        ("echo $SQUARECLOUD_API_KEY", "unknown", "''"),
    ],
)
def test_doctor_checks_the_version_of_the_engine(tmp_path: Path, script: str | None, state: str, said: str) -> None:
    if script is not None:
        (tmp_path / "pulumi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pulumi").chmod(0o755)
    found = installation({"PATH": str(tmp_path), "HOME": str(tmp_path), "SQUARECLOUD_API_KEY": "secret"})["engine"]
    assert found[0] == state
    assert said in found[1]
    assert "secret" not in str(found)


def test_doctor_and_tools_name_the_same_oldest_engine() -> None:
    assert OLDEST_ENGINE == OLDEST_INSTALLED


def test_a_plugin_of_another_version_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path)}
    assert installation(environment)["plugin"][:2] == ("note", "none is installed")
    program = tmp_path / "pulumi-resource-squarecloud"
    program.touch(0o755)
    assert installation({**environment, "PATH": str(tmp_path)})["plugin"] == ("ok", f"{program} is on PATH", "")
    folder = tmp_path / ".pulumi" / "plugins" / "resource-squarecloud-v0.0.1"
    folder.mkdir(parents=True)
    assert installation(environment)["plugin"][0] == "note"
    assert "0.0.1 is installed, this package is" in installation(environment)["plugin"][1]
    monkeypatch.setattr(doctor, "version", lambda _: "0.0.1")
    assert installation({"PATH": "", "PULUMI_HOME": str(tmp_path / ".pulumi")})["plugin"][0] == "ok"


def test_doctor_shows_which_credentials_buckets_would_use(tmp_path: Path) -> None:
    environment, secret = {"PATH": "", "HOME": str(tmp_path)}, "neverShown"
    found = installation(environment)["s3://"]
    assert (found[0], "the identity of this machine" in found[1]) == ("note", True)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": "https://r2.example"}
    every = installation({**environment, **keys})
    assert every["s3://"][:2] == ("ok", "credentials of S3: what is in AWS_ACCESS_KEY_ID, endpoint https://r2.example")
    assert {"gs://", "az://"} < every.keys()
    assert secret not in str(every)
