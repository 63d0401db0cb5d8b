"""People search for codes: each text about an answer of the service ends with its status and code."""

import re
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.engine.wording import PLUGIN, PYTHON
from pulumi_snapshots.errors import Message, ProviderError
from pulumi_snapshots.service.errors import KNOWN_CODES, Blocked, error_for
from tests.cli.test_trouble import ASKING, typed
from tests.cli.typed import Desk, at_desk
from tests.lookup.test_lookups import QUESTIONS
from tests.service.test_errors import NOON
from tests.support.drilling import CONNECTION, SCRATCH
from tests.support.virtual import run_virtual, staged
from tests.support.world import DATABASE, World, world

ANSWERS: dict[str, dict[str, Any]] = {
    "404 DATABASE_NOT_FOUND": {"status": 404, "code": "DATABASE_NOT_FOUND"},
    "403 RESOURCE_NOT_ALLOWED": {"status": 403, "code": "RESOURCE_NOT_ALLOWED"},
    "429 RATE_LIMITED": {"status": 429, "code": "RATE_LIMITED"},
    "500 NEVER_SEEN": {"status": 500, "code": "NEVER_SEEN"},
    "403": {"html": 403},  # a web page, such as in a country that is blocked
}
each_answer = pytest.mark.parametrize("answer", ANSWERS)


def codes_missing(text: str, answer: str) -> list[str]:
    """The lines about an answer that do not end with it in brackets."""
    told = {
        "404 DATABASE_NOT_FOUND": "has no such database",
        "403 RESOURCE_NOT_ALLOWED": "limited to other resources",
        "429 RATE_LIMITED": "is blocked",
        "500 NEVER_SEEN": "failed to carry it out",
        "403": "proxy in front of the service refused",
    }[answer]
    return lines_without(text, told, answer)


def lines_without(text: str, told: str, answer: str) -> list[str]:
    """The paragraphs with some words, which do not end with an answer in brackets."""
    paragraphs = re.sub(r"\n(?!hint|more|Error|warning)", " ", text).splitlines()
    about = [each for each in paragraphs if told.lower() in each.lower()]
    return [
        each for each in about if not re.search(rf"\[[^\[\]]*{answer}[^\[\]]*\]", each)
    ]


@each_answer
@pytest.mark.parametrize("command", ASKING)
@staged(world)
async def test_a_command_says_the_code(
    w: World, tmp_path: Path, command: str, answer: str
) -> None:
    w.fault(times=None, **ANSWERS[answer])
    ended = await typed(w, tmp_path, command, SQUARECLOUD_FIRST_POLL_AFTER="1s")
    assert answer in ended.err, ended.err
    assert codes_missing(ended.err, answer) == []
    if answer == "429 RATE_LIMITED" and "is blocked" in ended.err:
        assert re.search(r"is blocked until \d\d:\d\d:\d\d UTC", ended.err)


@pytest.mark.parametrize("command", ASKING)
def test_a_command_says_every_code_that_the_service_has(command: str) -> None:
    # A block is told from one request to the next by one of its names.
    codes = [each for each, known in KNOWN_CODES.items() if known.kind is not Blocked]
    for code in codes:
        run_virtual(partial(_says_code, command, code))


async def _says_code(command: str, code: str) -> None:
    answer = f"404 {code}"
    async with world() as w:
        w.fault(times=None, status=404, code=code)
        with tempfile.TemporaryDirectory() as folder:
            ended = await typed(
                w, Path(folder), command, SQUARECLOUD_FIRST_POLL_AFTER="1s"
            )
    error = error_for("GET /x", 404, code=code, readable=True)
    told = str(error.explanation).partition(" until ")[0]
    assert ended.code != 0
    assert answer in ended.err, ended.err
    assert lines_without(ended.err, told, answer) == []


DOING = {
    "guard": ("guard", DATABASE, "--timeout", "2m", "--", "true"),
    "report": ("report", DATABASE),
    "restore --dry-run": ("restore", f"{DATABASE}/{'v' * 24}", "--dry-run"),
    "create --archive": ("create", DATABASE, "--archive", "FOLDER/"),
    "drill": (
        *("drill", f"{DATABASE}/latest", "--scratch", SCRATCH, "--overwrite-scratch"),
        *("--check", "tables", "--connection-env", "SCRATCH_URL"),
    ),
}
"""Commands that do or show more than one answer of the service."""


@each_answer
@pytest.mark.parametrize("command", DOING)
@at_desk()
async def test_a_command_of_several_steps_says_the_code(
    desk: Desk, w: World, tmp_path: Path, command: str, answer: str
) -> None:
    desk.environment |= {
        "SCRATCH_URL": CONNECTION,
        "SQUARECLOUD_FIRST_POLL_AFTER": "1s",
    }
    w.fault(times=None, **ANSWERS[answer])
    typed_words = (each.replace("FOLDER", str(tmp_path)) for each in DOING[command])
    ended = await desk.types(*typed_words)
    assert ended.code != 0
    assert answer in ended.err, ended.err
    assert codes_missing(ended.err, answer) == []
    assert codes_missing(ended.out, answer) == []
    assert not desk.child.ran, "no command runs without a snapshot"


@each_answer
@at_desk()
async def test_doctor_says_the_code(desk: Desk, w: World, answer: str) -> None:
    w.fault(times=None, **ANSWERS[answer])
    ended = await desk.types("doctor")
    assert answer in ended.out + ended.err
    assert codes_missing(ended.out + ended.err, answer) == []


@each_answer
@staged(world)
async def test_a_refresh_says_the_code(w: World, answer: str) -> None:
    record = (await w.create()).complete
    w.fault(times=None, **ANSWERS[answer])
    said = (await w.read(record, session=w.another_run())).text
    assert answer in said, said
    assert codes_missing(said, answer) == []


@each_answer
@pytest.mark.parametrize(
    "question", QUESTIONS, ids=["latest", "snapshots", "database", "all"]
)
@staged(world)
async def test_a_lookup_says_the_code(
    w: World, question: Callable[[World], Awaitable[object]], answer: str
) -> None:
    w.fault(times=None, **ANSWERS[answer])
    with pytest.raises(ProviderError) as caught:
        await question(w)
    for wording in (PYTHON, PLUGIN):
        said = wording.report(caught.value)
        assert answer in said, said
        assert codes_missing(said, answer) == []


def test_an_error_in_another_text_ends_with_its_code() -> None:
    error = error_for("GET /x", 404, code="DATABASE_NOT_FOUND", readable=True)
    told = PYTHON.text(Message("it stays as it was: {why}", why=error))
    assert (
        told
        == "it stays as it was: This account has no such database [404 DATABASE_NOT_FOUND]."
    )
    told = PLUGIN.text(Message("{why}, so it waits", why=error.happened))
    assert (
        told
        == "this account has no such database [404 DATABASE_NOT_FOUND], so it waits"
    )
    assert (
        f"({error.happened})"
        == "(this account has no such database [404 DATABASE_NOT_FOUND])"
    )


def test_an_error_says_its_code_once() -> None:
    error = error_for("GET /x", 404, code="DATABASE_NOT_FOUND", readable=True)
    assert PYTHON.error_text(error).startswith(
        "This account has no such database.\n[GET /x: 404 DATABASE_NOT_FOUND]\n"
    )
    outer = ProviderError(Message("it was not archived: {why}", why=error))
    outer.__cause__ = error
    assert PYTHON.error_text(outer).count("DATABASE_NOT_FOUND") == 1
    alone = ProviderError(f"it was not archived: {error.happened}")
    assert PYTHON.error_text(alone).endswith("[404 DATABASE_NOT_FOUND].")


@pytest.mark.parametrize(("wait", "until"), [(None, "12:30:00"), (60.0, "12:01:00")])
def test_a_block_says_until_when(wait: float | None, until: str) -> None:
    error = error_for(
        "GET /x", 429, code="RATE_LIMITED", readable=True, retry_after=wait, now=NOON
    )
    assert f"is blocked until {until} UTC" in PYTHON.text(error)
