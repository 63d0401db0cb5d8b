"""`doctor --stack` checks what a create of that stack uses, and says so in the words of a create; nothing secret is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pulumi_snapshots.cli.setup.doctor import UNSHARED, look_at_installation
from pulumi_snapshots.run import settings
from tests.cli.typed import Desk
from tests.support.ledger_places import Store
from tests.support.virtual import staged
from tests.support.world import DATABASE, World, world

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


async def in_thread(work: Any, *arguments: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return [] if work is look_at_installation else work(*arguments)


def stack_of(w: World, folder: Path, **config: str) -> Desk:
    """A desk with a stack `prod` whose configuration is given; its environment has no key."""
    desk = Desk(w, folder, in_thread=in_thread)
    (folder / "key").write_text(desk.environment.pop("SQUARECLOUD_API_KEY") + "\n")
    every = {f"squarecloud:{name}": {"value": value, "secret": False} for name, value in config.items()}
    every |= {"squarecloud:apiKey": {"secret": True}, "app:size": {"value": "3", "secret": False}}
    (folder / "config.json").write_text(json.dumps(every))
    (folder / "pulumi").write_text(PULUMI.format(folder=folder))
    (folder / "pulumi").chmod(0o755)
    desk.environment |= {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}
    return desk


async def found_by(desk: Desk, *options: str, code: int = 0) -> dict[str, list[str]]:
    ended = await desk.types("doctor", "--stack", "prod", "--json", *options)
    key = desk.w.emulator.settings.api_key
    assert key not in ended.out + ended.err
    assert ended.code == code, ended.out
    return {one["check"]: [one["state"], one["found"], one["advice"]] for one in ended.json}


@staged(world)
async def test_doctor_uses_the_key_and_the_place_of_the_stack(w: World, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    found = await found_by(stack_of(w, tmp_path, sharedState=str(shared)), "--two-machines")
    assert found["stack"] == ["ok", "prod: its configuration is used", ""]
    assert found["key"][:2] == ["ok", "accepted"]
    assert found["ledger"][0] == "ok"
    assert found["ledger"][1].startswith(f"shared: {shared}/")
    assert found["ledger"][2] == UNSHARED
    assert found["two machines"][1].startswith("a second machine resumed what a killed run had requested")
    listed = await stack_of(w, tmp_path, sharedState=str(shared)).types("runs", "--stack", "prod")
    assert "nothing is under way, as far as " + str(shared) in listed.done.err


@staged(world)
async def test_a_wrong_key_is_to_be_set_where_the_stack_has_it(w: World, tmp_path: Path) -> None:
    desk = stack_of(w, tmp_path)
    (tmp_path / "key").write_text("wrong-" + "k" * 64)
    state, said, _ = (await found_by(desk, code=1))["key"]
    assert state == "problem"
    assert "`pulumi config set --secret squarecloud:apiKey --stack prod`" in said
    assert "SQUARECLOUD_API_KEY" not in said


@staged(world)
async def test_doctor_says_that_nothing_is_shared_and_what_could_be(w: World, tmp_path: Path) -> None:
    desk = stack_of(w, tmp_path)
    found = await found_by(desk)
    assert found["ledger"][0] == "ok"
    assert found["ledger"][1].startswith(f"this machine only: {tmp_path}")
    desk.environment["PULUMI_BACKEND_URL"] = "s3://team/states"
    found = await found_by(desk, "--two-machines", code=1)
    assert found["ledger"][2] == "With SQUARECLOUD_SHARED_STATE=backend it is kept in s3://team/states."
    assert found["two machines"][:2] == ["problem", "no second machine sees what this one has requested"]


@staged(world)
async def test_doctor_says_what_a_create_would_say(w: World, tmp_path: Path) -> None:
    """Of a folder that is not there, in a backend that is not the one that the CLI uses, and of a setting."""
    missing = {"SQUARECLOUD_SHARED_STATE": str(tmp_path / "missing")}
    desk = stack_of(w, tmp_path, sharedState=str(tmp_path / "missing"))
    state, said, _ = (await found_by(desk, code=1))["ledger"]
    assert state == "problem"
    assert f"mkdir -p {tmp_path}/missing" in said
    created = (await Desk(w, tmp_path, environment=missing).types("create", DATABASE)).failed()
    assert said.splitlines()[1:] == created.err.splitlines()[1:], "one error, in the same words"
    assert len([line for line in created.err.splitlines() if line.startswith(("Error", "warning"))]) == 1
    found = await found_by(stack_of(w, tmp_path, pollEvery="never"), code=1)
    assert "squarecloud:pollEvery must be a duration" in found["settings"][1]


@staged(world)
async def test_doctor_notices_that_the_cli_uses_another_backend_than_runs_would_see(w: World, tmp_path: Path) -> None:
    desk = stack_of(w, tmp_path, sharedState="backend")
    desk.environment["PULUMI_BACKEND_URL"] = "s3://other"
    state, said, _ = (await found_by(desk, code=1))["stack"]
    assert state == "problem"
    assert "Stack prod is in the backend s3://team/states, and its runs would take s3://other for that" in said
    assert "Set PULUMI_BACKEND_URL" in said
    store = Store(w.clock)
    desk.place = store.bucket
    desk.environment["PULUMI_BACKEND_URL"] = "s3://team/states"
    found = await found_by(desk, "--two-machines")
    assert found["ledger"][1].startswith("shared: ")
    assert found["two machines"][0] == "ok"
    assert sorted(store.held) == ["check", "rehearsal.ledger.json", "service.ledger.json"]
    assert not json.loads(store.held["rehearsal.ledger.json"].content)["attempts"], "it leaves nothing"


@staged(world)
async def test_a_stack_that_cannot_be_read_is_a_problem_in_the_words_of_the_cli(w: World, tmp_path: Path) -> None:
    desk = stack_of(w, tmp_path)
    ended = (await desk.types("doctor", "--stack", "nope", "--json")).failed()
    (one,) = ended.json
    assert "`pulumi config --json --stack nope` failed: no stack named 'nope' found" in one["found"]
    desk.environment["PATH"] = ""
    ended = (await desk.types("runs", "--stack", "prod")).failed("Pulumi is not on PATH")
    assert ended.out == ""


@staged(world)
async def test_doctor_names_what_a_bucket_does_not_allow(w: World, tmp_path: Path) -> None:
    store = Store(w.clock, unlisted=True)
    desk = stack_of(w, tmp_path)
    desk.place = store.bucket
    state, said, _ = (await found_by(desk, code=1))["ledger"]
    assert state == "problem"
    assert "listing the bucket (s3:ListBucket" in said
    store.unlisted = False
    assert (await found_by(desk))["ledger"][2] == UNSHARED
    store.unlisted = True
    state, said, advice = (await found_by(desk))["ledger"]
    assert (state, "the bucket cannot be listed" in said) == ("note", True)
    assert "looks like a refusal" in advice
    store.refuses = "AccessDenied"
    assert (await found_by(desk, code=1))["ledger"][0] == "problem"
