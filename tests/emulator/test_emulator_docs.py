"""docs/emulator.md is complete and right: options, control requests, faults, and a program that runs as printed."""

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from squarecloud_emulator import Damage, Fault
from squarecloud_emulator.__main__ import parser
from squarecloud_emulator.control.control_api import ANSWERS
from squarecloud_emulator.service.settings import TEST_API_KEY
from tests.emulator.visit import DATABASE, Visit, visited

PAGE = (
    Path(__file__).resolve().parent.parent.parent / "docs" / "emulator.md"
).read_text()


def section(title: str) -> str:
    return re.split(r"\n## ", PAGE.partition(f"\n## {title}\n")[2])[0]


def test_docs_name_every_option_with_its_default() -> None:
    options = section("Options")
    for action in parser()._actions:
        long = [
            name
            for name in action.option_strings
            if name.startswith("--") and name != "--help"
        ]
        for name in long:
            assert f"`{name}" in options, name
        if (
            long
            and isinstance(action.default, int | float | str)
            and not isinstance(action.default, bool)
        ):
            (row,) = [
                line
                for line in options.splitlines()
                if re.match(rf"\| [^|]*`{long[0]}\b", line)
            ]
            default = (
                f"{action.default:g}"
                if isinstance(action.default, float)
                else action.default
            )
            assert f"`{default}`" in row


def test_docs_name_every_control_request_and_field_of_a_fault_and_the_emulators_own_key() -> (
    None
):
    control = section("Control")
    for route in ANSWERS:
        path = re.sub(r"\{id\}", "ID", re.sub(r"\{version_id:path\}", "VERSION", route))
        assert (
            re.search(rf"`[A-Z ]*{re.escape(path)}", control)
            or f"`{path}" in control
            or "faults" in path
        ), path
    assert {
        one.name for one in fields(Fault) if f"`{one.name}`" not in section("Faults")
    } == set()
    assert f"SQUARECLOUD_API_KEY={TEST_API_KEY}\n" in PAGE


def test_program_in_the_docs_runs() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102  the program in the docs
    answer = anyio.run(names["take"])
    assert answer.json()["status"] == "success"
    (fault,) = names["emulator"].faults.rules
    assert fault.status == 503


async def run_commands(at: Visit, title: str) -> None:
    """Send what the section's `curl` commands send."""
    commands = re.findall(r"^curl (?:.*\\\n)?.*", section(title), re.MULTILINE)
    assert commands, title
    for command in commands:
        words = shlex.split(command)
        method = words[words.index("--request") + 1] if "--request" in words else "POST"
        url = words[-1].replace("http://127.0.0.1:8900", at.emulator.base_url)
        answer = await at.files.request(
            method, url, content=words[words.index("--data") + 1]
        )
        assert answer.is_success, (command, answer.text)


@visited()
async def test_the_faults_in_the_docs_refuse_a_snapshot_and_then_lose_an_answer(
    at: Visit,
) -> None:
    await run_commands(at, "Faults")
    refused = await at.create()
    assert (refused.status_code, refused.json()["code"]) == (404, "DATABASE_NOT_FOUND")
    with pytest.raises(httpx.RemoteProtocolError):
        await at.create()
    assert [entry.accepted for entry in at.emulator.journal] == [False, True]


@visited()
async def test_the_damage_in_the_docs_empties_the_next_snapshot(at: Visit) -> None:
    await run_commands(at, "Bad snapshots")
    assert at.emulator.databases[DATABASE].next_snapshot_damage == Damage(kind="empty")


@visited(snapshot_seconds=0)
async def test_the_clock_in_the_docs_ends_the_cooldown_that_they_name(
    at: Visit,
) -> None:
    assert (await at.create()).is_success
    await at.clock.sleep(6)
    refused = await at.create()
    assert (refused.json()["code"], refused.json()["message"][-7:]) == (
        "KEEP_CALM",
        "1r/180s",
    )
    await run_commands(at, "Time")
    assert (await at.create()).is_success
