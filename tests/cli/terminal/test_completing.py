"""What the tab key offers: ids from kept pages, with one request at most, without waiting, and without an error."""

import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path

import anyio
import httpx
import pytest
from click.shell_completion import ShellComplete

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import COMPLETE, NAME
from pulumi_snapshots.clock import Clock
from squarecloud_emulator import Emulator
from squarecloud_emulator import EmulatorSettings as Service
from tests.cli.typed import Desk
from tests.support.wire import EmulatorTransport
from tests.support.world import DATABASE, OTHER_DATABASE, World, world

OLD, NEW, OTHERS = (f"45e{letter}0b49-9af6-445e-a55c-abd7ec5278b2" for letter in "cde")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A machine and a service in real time, since a completion runs a loop of its own. Nothing waits."""

    async def make() -> Desk:
        async with world(databases=()) as virtual:
            emulator = Emulator(Service(), clock=(clock := Clock()))
            emulator.add_database(DATABASE, name="shop")
            emulator.add_database(OTHER_DATABASE, name="wiki\x1b[2J", type="mysql")
            for version, database_id, hours in (
                (OLD, DATABASE, 3),
                (NEW, DATABASE, 2),
                (OTHERS, OTHER_DATABASE, 1),
            ):
                at = clock.utc() - timedelta(hours=hours)
                emulator.add_snapshot(
                    database_id, modified=at, version_id=version, size=1000
                )
            return Desk(
                World(emulator, EmulatorTransport(emulator), clock, virtual.session),
                tmp_path,
            )

    return anyio.run(make)


def offered(
    desk: Desk, *words: str, err: StringIO | None = None
) -> dict[str, str | None]:
    """What the shell offers for the last word, each with its help."""
    invocation = desk.invocation(StringIO(), err or StringIO())
    items = ShellComplete(
        commands, {"obj": invocation}, NAME, COMPLETE
    ).get_completions(list(words[:-1]), words[-1])
    return {item.value: item.help for item in items}


def sent(desk: Desk) -> list[str]:
    return [entry.kind for entry in desk.w.emulator.journal]


PLACES = (
    "list",
    "create",
    f"status {DATABASE}",
    "probe",
    "probe --large",
    f"restore {DATABASE}/{OLD} --onto",
)


@pytest.mark.parametrize("typed", PLACES)
def test_databases_are_offered_with_their_names_for_one_request(
    desk: Desk, typed: str
) -> None:
    words = typed.split()
    assert offered(desk, *words, "") == {
        DATABASE: "shop, postgres",
        OTHER_DATABASE: "wiki\\x1b[2J, mysql",
    }
    assert offered(desk, *words, "b2") == {OTHER_DATABASE: "wiki\\x1b[2J, mysql"}
    assert offered(desk, *words, "sh") == {"shop": DATABASE}
    assert offered(desk, *words, "c") == {}
    assert sent(desk) == ["me"]


@pytest.mark.parametrize("command", ["download", "archive", "restore"])
def test_snapshots_are_offered_newest_first_for_one_request(
    desk: Desk, command: str
) -> None:
    latest = command != "restore"
    ours = f"{DATABASE}/"
    others = f"{OTHER_DATABASE}/"
    assert list(offered(desk, command, "a14")) == [f"{ours}latest"] * latest + [
        f"{ours}{NEW}",
        f"{ours}{OLD}",
    ]
    assert list(offered(desk, command, f"{ours}45ec")) == [f"{ours}{OLD}"]
    # Those of all databases would be hundreds.
    newest = (
        [f"{each}latest" for each in (others, ours)]
        if latest
        else [f"{others}{OTHERS}", f"{ours}{NEW}"]
    )
    assert sorted(offered(desk, command, "")) == sorted(newest)
    (about,) = offered(desk, command, f"{others}45").values()
    assert str(about).endswith(" UTC, manual, 1.0 kB")
    assert sent(desk) == ["list account"]


def test_what_a_command_has_listed_is_offered_without_a_request(desk: Desk) -> None:
    anyio.run(desk.types, "databases")
    before = sent(desk)
    assert f"{DATABASE}/{NEW}" in offered(desk, "download", "a14")
    assert DATABASE in offered(desk, "create", "a")
    assert sent(desk) == before


def test_a_system_that_hangs_holds_up_no_shell(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that searches for the service's address without an end, which no cancellation ends."""
    released = threading.Event()
    waited = list[bool]()

    class Hanging(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            waited.append(released.wait(10))
            return await super().handle_async_request(request)

    monkeypatch.setattr(arguments, "COMPLETION_PATIENCE", 0.3)
    desk.w.transport = Hanging(desk.w.emulator)
    assert (offered(desk, "download", "a14"), waited) == ({}, [])
    released.set()


class Broken(EmulatorTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise RuntimeError(request.url)


@pytest.mark.parametrize(
    "trouble",
    [
        "no key",
        "wrong key",
        "bad setting",
        "broken files",
        "no directory",
        "broken service",
    ],
)
def test_no_trouble_is_printed_into_the_shell(
    desk: Desk, trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    match trouble:
        case "no key":
            del desk.environment["SQUARECLOUD_API_KEY"]
        case "wrong key":
            desk.environment["SQUARECLOUD_API_KEY"] = "wrong-" + "k" * 64
        case "bad setting":
            desk.environment["SQUARECLOUD_POLL_EVERY"] = "never"
        case "broken files":
            anyio.run(desk.types, "list")
            for file in desk.state.glob("*.json"):
                file.write_text("[")
        case "no directory":
            (desk.state / "file").write_text("")
            desk.environment["SQUARECLOUD_STATE_DIR"] = str(
                desk.state / "file" / "state"
            )
        case _:
            desk.w.transport = Broken(desk.w.emulator)
    err = StringIO()
    for words in (
        ("download", "x"),
        ("create", "x"),
        ("download", "x"),
        ("status", "--archives", ""),
    ):
        assert offered(desk, *words, err=err) == {}
    assert (err.getvalue(), capfd.readouterr()) == ("", ("", ""))
    assert trouble != "no directory" or sent(desk) == [], (
        "no request is sent if it cannot be noted"
    )
    assert trouble != "wrong key" or sent(desk) == ["list account", "me"], (
        "a refused key is not sent at every press"
    )


def test_ids_that_a_shell_would_take_for_something_else_are_not_offered(
    desk: Desk,
) -> None:
    for odd in ("$(touch x)" + "a" * 20, "a;b" + "a" * 30, "a,b" + "a" * 30, "*" * 30):
        desk.w.emulator.add_snapshot(DATABASE, version_id=odd)
    assert {each.partition("/")[2] for each in offered(desk, "restore", DATABASE)} == {
        NEW,
        OLD,
    }


def test_every_argument_that_is_an_id_is_completed() -> None:
    parameters = [
        (command, each)
        for command in commands.commands.values()
        for each in command.params
    ]
    taken = [each for _, each in parameters if "DATABASE" in str(each.metavar)]
    assert [
        each
        for each in taken
        if each.type is not arguments.DATABASE and each._custom_shell_complete is None
    ] == []


def test_what_guard_is_to_run_is_completed_as_a_file(desk: Desk) -> None:
    assert offered(desk, "guard", "sh") == {"shop": DATABASE}
    assert offered(desk, "guard", "shop", OTHER_DATABASE[:2]).keys() == {OTHER_DATABASE}
    assert offered(desk, "guard", "--fall").keys() == {"--fallback"}
    before = len(sent(desk))
    for words in (("",), ("al",), ("alembic", "sh"), ("alembic", "--")):
        invocation = desk.invocation(StringIO(), StringIO())
        completing = ShellComplete(commands, {"obj": invocation}, NAME, COMPLETE)
        (item,) = completing.get_completions(
            ["guard", "shop", "--", *words[:-1]], words[-1]
        )
        assert (item.type, item.value) == ("file", words[-1])
    assert len(sent(desk)) == before
