"""A secret that is typed where a name belongs is neither printed nor kept, by any option that takes a name."""

import contextlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from pulumi_snapshots.cli.commands import commands
from pulumi_snapshots.errors.pages import LAST_ERROR
from tests.cli.test_notify import NTFY, Monitors
from tests.cli.typed import Desk, at_desk
from tests.support.drilling import SCRATCH
from tests.support.world import DATABASE, World

# Each is spelled in two parts, so that no scanner of secrets takes this file for a leak.
AGE_KEY = (
    "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
)
DSN = "postgresql://driller:" + "Tr0ub4dor@db.example.com:5432/shop"
PASSWORD = "correct-" + "Horse7battery"
TOKEN = "9xQ2mLk8" + "VtR4bZs7NcYw3HfJ"

DRILL = (
    "drill",
    DATABASE,
    "--scratch",
    SCRATCH,
    "--overwrite-scratch",
    "--check",
    "select 1 == 1",
)
TYPED = {
    "decrypt --identity": (
        "decrypt",
        "FOLDER/one.zip.age",
        "-o",
        "FOLDER/one.zip",
        "--identity",
    ),
    "decrypt ARCHIVE": (
        "decrypt",
        "-o",
        "FOLDER/one.zip",
        "--identity",
        "FOLDER/age.txt",
    ),
    "decrypt --output": (
        "decrypt",
        "FOLDER/one.zip.age",
        "--identity",
        "FOLDER/age.txt",
        "-o",
    ),
    "drill --password-env": (*DRILL, "--password-env"),
    "drill --connection-env": (*DRILL, "--connection-env"),
    "drill --source-env": (*DRILL, "--source-env"),
    "drill --check": (*DRILL, "--check"),
    "archive --recipient": ("archive", f"{DATABASE}/v1", "FOLDER/", "--recipient"),
    "archive DESTINATION": ("archive", f"{DATABASE}/{'v' * 24}"),
    "an argument too many": ("show", f"{DATABASE}/{'v' * 24}"),
    "a command": (),
    "explain ERROR": ("explain",),
    "plugin --stack": ("doctor", "--stack"),
}
"""What is typed before the secret."""
OF_A_VARIABLE = [each for each in TYPED if each.endswith("-env")]
"""The options that take the name of a variable."""
each_secret = pytest.mark.parametrize(
    "secret", [AGE_KEY, DSN], ids=["age key", "connection string"]
)


async def _says(desk: Desk, folder: Path, *typed: str) -> str:
    """What standard error says, and what `explain --last` would show."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240  a test's own
    ended = await desk.types(*(part.replace("FOLDER", str(folder)) for part in typed))
    assert ended.code != 0
    files = [path.read_text(errors="replace") for path in desk.state.rglob(LAST_ERROR)]
    assert "Traceback" not in ended.err
    return "\n".join([ended.out, ended.err, *files])


IDS = {
    "list DATABASE": ("list", "SECRET"),
    "create DATABASE": ("create", "SECRET"),
    "status DATABASE": ("status", "SECRET"),
    "show DATABASE": ("show", "SECRET"),
    "show DATABASE VERSION": ("show", DATABASE, "SECRET"),
    "show /VERSION": ("show", f"{DATABASE}/SECRET"),
    "show DATABASE/": ("show", "SECRET/latest"),
    "url /VERSION": ("url", f"{DATABASE}/SECRET"),
    "download /VERSION": ("download", f"{DATABASE}/SECRET", "-o", "FOLDER/one.zip"),
    "archive /VERSION": ("archive", f"{DATABASE}/SECRET", "FOLDER/"),
    "restore /VERSION": ("restore", f"{DATABASE}/SECRET", "--yes"),
    "restore --onto": (
        "restore",
        f"{DATABASE}/latest-one",
        "--yes",
        "--onto",
        "SECRET",
    ),
    "restore without --yes": ("restore", f"SECRET/{'v' * 24}"),
    "drill /VERSION": (
        *DRILL[:1],
        f"{DATABASE}/SECRET",
        *DRILL[2:],
        "--password-env",
        "PGPASSWORD",
    ),
    "drill --scratch": (
        *DRILL[:3],
        "SECRET",
        *DRILL[4:],
        "--password-env",
        "PGPASSWORD",
    ),
}
"""Commands with a secret in place of an id."""


@pytest.mark.parametrize(
    "may_list", [True, False], ids=["key of all", "key of snapshots"]
)
@pytest.mark.parametrize("secret", [TOKEN, f"{TOKEN}+a=", "pa$$ w0rd!"])
@pytest.mark.parametrize("command", IDS)
@at_desk()
async def test_a_secret_typed_for_an_id_is_not_shown(
    desk: Desk, w: World, command: str, secret: str, *, may_list: bool
) -> None:
    if not may_list:
        scopes = frozenset({"snapshots:read", "snapshots:write"})
        w.emulator.settings = replace(w.emulator.settings, scopes=scopes)
    desk.environment["PGPASSWORD"] = "p"
    typed = [each.replace("SECRET", secret) for each in IDS[command]]
    told = await _says(desk, desk.state.parent / "folder", *typed)
    for spelled in (secret, quote(secret, safe="")):
        assert spelled not in told, told


@at_desk()
async def test_an_error_about_a_listed_version_shows_it_whole(
    desk: Desk, w: World, tmp_path: Path
) -> None:
    w.emulator.add_snapshot(DATABASE, size=1000, version_id=TOKEN)
    w.fault(kind="download", status=404, code="SNAPSHOT_NOT_FOUND", times=None)
    typed = ("download", f"{DATABASE}/{TOKEN}", "-o", "FOLDER/one.zip")
    told = await _says(desk, tmp_path / "folder", *typed)
    assert TOKEN in told


@each_secret
@pytest.mark.parametrize("option", TYPED)
@at_desk()
async def test_a_secret_typed_for_a_name_is_not_shown(
    desk: Desk, tmp_path: Path, option: str, secret: str
) -> None:
    said = await _says(desk, tmp_path / "folder", *TYPED[option], secret)
    hidden = {AGE_KEY: AGE_KEY[-40:], DSN: "Tr0ub4dor"}[secret]
    assert hidden not in said, said


PLACES = {
    "archive DESTINATION": ("archive", f"{DATABASE}/latest"),
    "download --output": ("download", f"{DATABASE}/latest", "-o"),
    "archives DESTINATION": ("archives",),
    "forget DESTINATION": ("forget", "--keep-last", "3"),
    "status --archives": ("status", "--archives"),
    "status --metrics": ("status", "--metrics"),
    "drill --archives": (*DRILL, "--connection-env", "PGPASSWORD", "--archives"),
    "decrypt --output": ("decrypt", "one.zip.age", "--identity", "age.txt", "-o"),
    "probe --report": ("probe", DATABASE, "--yes", DATABASE, "--report"),
}
"""What is typed before a place."""
SPELLED = {
    AGE_KEY: AGE_KEY[-40:],
    f"{AGE_KEY}/": AGE_KEY[-40:],
    "host=db password=" + "hunter2pass": "hunter2pass",
}
"""By a secret whose form shows what it is, the part that no text may show."""


@pytest.mark.parametrize("secret", SPELLED, ids=["a file", "a folder", "keywords"])
@pytest.mark.parametrize("option", PLACES)
@at_desk()
async def test_no_file_is_called_like_a_secret(
    desk: Desk, w: World, tmp_path: Path, option: str, secret: str
) -> None:
    """A result would print the place; and the file itself would show the secret to others."""
    folder = tmp_path / "here"
    folder.mkdir()
    w.emulator.add_snapshot(DATABASE, size=1000)
    with contextlib.chdir(folder):
        said = await _says(desk, folder, *PLACES[option], secret)
    assert SPELLED[secret] not in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "option",
    [
        "archives DESTINATION",
        "forget DESTINATION",
        "status --archives",
        "download --output",
    ],
)
@at_desk()
async def test_a_place_that_is_missing_is_shown_unless_it_looks_like_a_secret(
    desk: Desk, w: World, tmp_path: Path, option: str
) -> None:
    w.emulator.add_snapshot(DATABASE, size=1000)
    usual = tmp_path / "backups-of-2026"
    said = await _says(desk, tmp_path / "folder", *PLACES[option], f"{usual}/")
    assert str(usual) in said
    said = await _says(
        desk, tmp_path / "folder", *PLACES[option], f"{tmp_path / TOKEN}/"
    )
    assert TOKEN not in said
    assert TOKEN[:3] in said


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN, "hunter2", "p w", "X7Q9ZK2M4PL8"])
@pytest.mark.parametrize("option", OF_A_VARIABLE)
@at_desk()
async def test_a_password_typed_for_a_variable_is_not_shown(
    desk: Desk, tmp_path: Path, option: str, secret: str
) -> None:
    said = await _says(desk, tmp_path / "folder", *TYPED[option], secret)
    assert secret not in said
    assert f"{secret[: min(3, len(secret) // 3)]}…" in said


def test_each_option_that_takes_a_variable_is_tried() -> None:
    taken = {
        f"{command.name} {option}"
        for command in commands.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.endswith("-env")
    }
    assert taken == set(OF_A_VARIABLE)


@pytest.mark.parametrize(
    "secret", [TOKEN, "pa$$ w0rd!", AGE_KEY.lower(), PASSWORD, "hunter2", "p w"]
)
@at_desk()
async def test_a_secret_typed_for_a_file_is_not_shown(
    desk: Desk, tmp_path: Path, secret: str
) -> None:
    said = await _says(desk, tmp_path / "folder", *TYPED["decrypt --identity"], secret)
    assert secret not in said
    assert f"{secret[: min(3, len(secret) // 3)]}…" in said


@pytest.mark.parametrize(
    "name", ["PGPASSWORD", "SCRATCH_URL", "DB2_PASSWORD", "SHOP_DB_PASSWORD_2"]
)
@at_desk()
async def test_a_usual_name_that_is_not_set_is_shown(
    desk: Desk, tmp_path: Path, name: str
) -> None:
    said = await _says(desk, tmp_path / "folder", *TYPED["drill --password-env"], name)
    assert f"{name} is not set" in said


@at_desk()
async def test_a_usual_file_that_is_missing_is_shown(
    desk: Desk, tmp_path: Path
) -> None:
    typed = TYPED["decrypt --identity"]
    for name in ("keys/shop-2026.age-identity.txt", "shop.txt", "keys/shop"):
        said = await _says(desk, tmp_path / "folder", *typed, name)
        assert f"file {name} cannot" in said


@at_desk()
async def test_a_file_of_any_name_that_is_there_is_shown(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys").mkdir()  # noqa: ASYNC240  a test's own
    typed = (*TYPED["decrypt --identity"], "keys")
    assert "file keys cannot" in await _says(desk, tmp_path / "folder", *typed)


@at_desk()
async def test_a_monitor_hears_no_secret_that_was_typed(desk: Desk) -> None:
    desk.monitors = Monitors()
    typed = (*TYPED["drill --check"], f"select {AGE_KEY}", "--notify", NTFY)
    (await desk.types(*typed)).failed("--check", code=2)
    told = [text for _, text, _ in desk.monitors.told]
    assert any("AGE-SECRET-KEY-…" in text for text in told), told
    assert AGE_KEY[-20:] not in "".join(told)
