"""Every kind of trouble has one clear text on standard error, the documented exit code, and leaves no partial file."""

import errno
import re
import signal
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from pulumi_snapshots.cli.terminal.output import printable
from squarecloud_emulator import Fault
from tests.cli.typed import Desk, Ended, at_desk
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, World, world

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
SNAPSHOT = f"{DATABASE}/{VERSION}"

ASKING = {
    "list": ("list",),
    "list DATABASE": ("list", DATABASE),
    "create": ("create", DATABASE),
    "download": ("download", SNAPSHOT, "--output", "FOLDER/one.zip"),
    "archive": ("archive", SNAPSHOT, "FOLDER/"),
    "restore": ("restore", SNAPSHOT, "--yes"),
    "databases": ("databases",),
    "show": ("show", SNAPSHOT),
    "url": ("url", SNAPSHOT),
    "status": ("status", DATABASE),
}
"""Every command that asks the service."""
each_command = pytest.mark.parametrize("command", ASKING)


async def typed(w: World, tmp_path: Path, command: str, **environment: str) -> Ended:
    """Type the command, which must leave no file and show no secret."""
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    desk = Desk(w, tmp_path / "state")
    desk.environment |= environment
    ended = await desk.types(
        *(part.replace("FOLDER", str(folder)) for part in ASKING[command])
    )
    assert list(folder.rglob("*")) == []
    assert ended.out == ""
    said = [
        line
        for line in ended.err.splitlines()
        if not re.match(r"\d\d:\d\d:\d\d|warning: ", line)
    ]
    assert said[0].startswith("Error: ")
    assert not [line for line in said[1:] if line.startswith("Error: ")], (
        "one error is enough"
    )
    assert "Traceback" not in ended.err
    assert not re.search(r"pulumi |squarecloud:|Snapshot\.get", ended.err), (
        "words of programs, not of commands"
    )
    key = desk.environment["SQUARECLOUD_API_KEY"]
    assert not key or key not in ended.err
    return ended


NO_KEY = "No API key is set.\nNothing was sent.\nhint: Set a valid key in SQUARECLOUD_API_KEY"
UNKNOWN = [
    "API key is unknown, revoked or expired",
    "Set a valid key in SQUARECLOUD_API_KEY,",
]
HTTP = "http://api.squarecloud.app/v2"
NOWHERE = "https://nowhere.test/v2"
UNREACHED = [
    "could not be reached, so nothing was sent",
    "Check the network and SQUARECLOUD_API_URL",
]
PATH = ["nothing at this address", "SQUARECLOUD_API_URL: it usually ends with /v2"]
NO_ROUTE = Fault(status=404, code="ROUTE_NOT_FOUND", times=None)
SCOPE = Fault(status=403, code="MISSING_SCOPE", times=None)
TROUBLE: dict[str, tuple[dict[str, str], Fault | None, list[str], int | None]] = {
    # The environment, what the service does, what is said, and how many requests are sent.
    "no key": ({"SQUARECLOUD_API_KEY": ""}, None, [NO_KEY], 0),
    "wrong key": ({"SQUARECLOUD_API_KEY": "wrong-" + "k" * 64}, None, UNKNOWN, 1),
    "bad setting": (
        {"SQUARECLOUD_API_URL": HTTP},
        None,
        ["SQUARECLOUD_API_URL must use https"],
        0,
    ),
    "no network": ({"SQUARECLOUD_API_URL": NOWHERE}, None, UNREACHED, 0),
    "an address without its path": ({}, NO_ROUTE, PATH, None),
    "missing scope": ({}, SCOPE, ["API key lacks the scope"], None),
    "broken service": (
        {"SQUARECLOUD_FIRST_POLL_AFTER": "1s"},
        Fault(html=502, times=None),
        ["502"],
        None,
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@each_command
@staged(world)
async def test_each_trouble_is_one_error_that_says_what_to_do(
    w: World, tmp_path: Path, command: str, trouble: str
) -> None:
    environment, fault, said, sent = TROUBLE[trouble]
    if fault:
        w.emulator.add_fault(fault)
    ended = (await typed(w, tmp_path, command, **environment)).failed()
    assert all(words in ended.err for words in said)
    assert sent is None or len(w.emulator.journal) == sent


@pytest.mark.parametrize("command", ["status", "download", "restore"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "code": "DATABASE_UNAVAILABLE"},
        {"html": 502},
        {"no_connect": True},
    ],
    ids=str,
)
@staged(world)
async def test_while_the_service_is_down_the_error_names_the_way_by_an_archive(
    w: World, tmp_path: Path, command: str, fault: dict[str, Any]
) -> None:
    w.emulator.add_fault(Fault(**fault, times=None))
    ended = (await typed(w, tmp_path, command)).failed()
    assert "`squarecloud-snapshots archives DESTINATION` lists it" in ended.err


@pytest.mark.parametrize(
    "command", [name for name in ASKING if name not in {"list", "databases", "status"}]
)
@staged(world, databases=(OTHER_DATABASE,))
async def test_an_unknown_database_or_version_is_an_error(
    w: World, tmp_path: Path, command: str
) -> None:
    (await typed(w, tmp_path, command)).failed("account has no such database")
    w.emulator.add_database(DATABASE)
    if SNAPSHOT in ASKING[command]:
        (await typed(w, tmp_path, command)).failed(
            f"service lists no snapshot {VERSION} of database {DATABASE}"
        )


@each_command
@staged(world)
async def test_a_signal_ends_a_command_that_gets_no_answer(
    w: World, tmp_path: Path, command: str
) -> None:
    w.fault(delay=10_000, times=None)
    (
        await w.meanwhile(
            3, partial(signal.raise_signal, signal.SIGINT), typed(w, tmp_path, command)
        )
    ).failed("interrupted", code=130)
    assert w.clock.monotonic() < 10


# Wrong arguments -----------------------------------------------------------------------------------------------------


WRONG = """
list --origin mine => 'mine' is not one of 'manual', 'automatic'
list --newer-than soon => --newer-than must be a duration
list --newer-than 1h --older-than 2h => --newer-than must be longer than --older-than (otherwise no snapshot matches), not '1h'
list --urls => --urls needs --json
list a b => unexpected extra argument
create => Missing argument 'DATABASE'
create a/b => 'DATABASE': it must be a bare id
download a --output x => a snapshot is DATABASE/VERSION, not 'a': `a/latest` is the newest, `status DATABASE` names the
download a/v --output FOLDER/no/such/one.zip => --output must be in a folder that exists: there is no
create a --timeout 30 => it needs a unit, such as 30s, 30m, 30h or 30d
archive a/v s3://bucket/x/../y => `..` as a segment
download a/pending:20260301T120000Z --output x => that snapshot is pending: `create DATABASE` keeps waiting
download a/v --output - => --output must be a file, since a download appears only when it is whole
download a/v --output s3://bucket/x => --output must be a file of this machine: `archive` streams to a bucket
decrypt a.age --identity k --output s3://bucket/x => ARCHIVE must be one object, and --output a file of this machine
decrypt a.age --identity k --output FOLDER/ => ARCHIVE must be one object, and --output a file of this machine
archive a/v ftp://x/y => DESTINATION must be a path, or a URI
restore a/v => restore overwrites everything that database a holds: add --yes
restore a/latest --yes => restore needs a version id, since `latest` can change
restore a/v --onto b => restore overwrites everything that database b holds: add --yes
restore a/v --yes --onto b/c => '--onto': it must be a bare id
status --max-age 31d => --max-age must be at most 30d (the service keeps no snapshot longer)
status --max-archive-age 7d => --max-archive-age needs --archives
status --archives s3://x => '--archives': it must be s3://BUCKET/NAME
completion tcsh => 'tcsh' is not one of
explain nope => no error has the name nope. `squarecloud-snapshots explain` lists all errors.
frob => No such command 'frob'
list --api-key x => No such option
"""


@pytest.mark.parametrize(
    ("arguments", "said"), [row.split(" => ") for row in WRONG.strip().splitlines()]
)
@at_desk()
async def test_a_wrong_argument_is_named_and_nothing_is_sent(
    desk: Desk, w: World, arguments: str, said: str
) -> None:
    (await desk.types(*arguments.split())).failed(said, code=2)
    assert not w.emulator.journal


@at_desk()
async def test_a_create_that_never_connects_says_to_check_the_address(
    desk: Desk, w: World
) -> None:
    w.fault(drop=True, when="before", times=None)
    (await desk.types("create", DATABASE, "--timeout", "5s")).failed(
        "The wait ended after 5 s, while connecting to the service",
        "hint: Check the network and SQUARECLOUD_API_URL.",
    )


@at_desk()
async def test_a_create_cut_short_in_the_queue_asks_for_a_longer_time_out(
    desk: Desk, w: World
) -> None:
    _ = (await desk.types("create", DATABASE)).done
    await w.clock.sleep(60)
    (await desk.types("create", DATABASE, "--timeout", "5s")).failed(
        "since the service accepts one create per database in 3 min",
        "hint: Run it again, with a longer --timeout.",
        code=75,
    )


@pytest.mark.parametrize(("quiet", "shown"), [((), True), (("--quiet",), False)])
@at_desk()
async def test_a_question_that_waits_says_until_when(
    desk: Desk, w: World, *, quiet: tuple[str, ...], shown: bool
) -> None:
    w.emulator.add_snapshot(DATABASE)
    w.fault(kind="list", drop=True, times=None)
    began = w.clock.utc()
    _ = (await desk.types("list")).done
    ended = await desk.types("show", f"{DATABASE}/12345678", *quiet)
    assert (w.clock.utc() - began).total_seconds() > 15, ended.err
    waits = re.search(
        r"waiting until 12:00:2\d UTC: the account listing is requested at most once in 20 s",
        ended.err,
    )
    assert bool(waits) == shown, ended.err


# Standard output and the terminal ------------------------------------------------------------------------------------


class Closed(StringIO):
    """A pipe whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("case", ["done", "pending", "pending, shared"])
@virtual
async def test_a_closed_output_fails_and_the_log_names_what_was_done(
    tmp_path: Path, case: str
) -> None:
    async with world(snapshot_seconds=1 if case == "done" else 1000) as w:
        environment = (
            {"SQUARECLOUD_SHARED_STATE": str(tmp_path)} if "shared" in case else {}
        )
        desk = Desk(w, tmp_path / "state", environment)
        ended = (
            await desk.types(
                "create", DATABASE, "--timeout", "3m", "--json", out=Closed()
            )
        ).failed()
        closed = "Not all of the result was written to standard output: Broken pipe.\nmore: squarecloud-snapshots explain output-closed\n"
        assert closed in ended.err
        where = (
            "any machine with this shared state" if "shared" in case else "this machine"
        )
        resumes = f"on {where} keeps waiting for it and sends no second request"
        assert (w.started() if case == "done" else resumes) in ended.err


@at_desk(snapshot_seconds=200)
async def test_a_closed_standard_error_stops_no_work(desk: Desk, w: World) -> None:
    ended = await desk.types("create", DATABASE, err=Closed())
    assert ended.code == 0
    assert w.started() in ended.out


def test_control_characters_are_escaped() -> None:
    assert printable("größe\n") == "größe\n"
    assert printable("\x1b[2J\r\x07\u202e\ud800") == "\\x1b[2J\\r\\x07\\u202e\\ud800"
