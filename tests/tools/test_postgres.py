"""The tests' own PostgreSQL: found or fetched, kept whole, started as any user, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.real_data import sql_at
from tools import postgres
from tools.engine import MARKER, Closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.engine import Environment


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def fill(folder: Path, version: str = "15.18") -> None:
    for name in postgres.PROGRAMS:
        script(folder / name, f"echo '{name} (PostgreSQL) {version} (Debian 1)'")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


class Maker:
    """A way to PostgreSQL that counts how often it was gone."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, into: Path, _: Environment) -> str:
        self.calls += 1
        fill(into / "wheel" / "bin", "18.4")
        (into / "wheel" / "share").mkdir()
        (into / "wheel" / "share" / "postgres.bki").write_text("catalogues")
        return "made by a test"


def test_installed_one_on_path_is_used(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "bin")
    assert postgres.ensure(environment, (), ()) == tmp_path / "bin"


def test_folder_on_path_that_is_closed_or_gone_is_passed_over(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "bin")
    closed = tmp_path / "file"
    closed.touch()
    environment["PATH"] = os.pathsep.join([str(closed), str(tmp_path / "gone"), "", environment["PATH"]])
    assert postgres.ensure(environment, (), ()) == tmp_path / "bin"


def test_links_on_path_lead_to_the_rest(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "real")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").symlink_to(tmp_path / "real" / "postgres")
    assert postgres.ensure(environment, (), ()) == tmp_path / "real"


def test_newest_of_the_usual_places_is_used(tmp_path: Path, environment: dict[str, str]) -> None:
    for version in ("9.6", "14.1", "9", "16.2"):
        fill(tmp_path / "usual" / version / "bin", version)
    (tmp_path / "usual" / "16.2" / "bin" / "pg_dump").unlink()
    assert postgres.ensure(environment, (), (f"{tmp_path}/usual/*/bin",)) == tmp_path / "usual" / "14.1" / "bin"


def test_chosen_one_is_used_and_no_other(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "bin")
    fill(tmp_path / "chosen", "17beta1")
    environment[postgres.CHOSEN] = str(tmp_path / "chosen")
    assert postgres.installed(environment) == (tmp_path / "chosen", "17beta1")
    (tmp_path / "chosen" / "psql").unlink()
    with pytest.raises(Closed, match=r"chosen lacks psql"):
        postgres.installed(environment)


@pytest.mark.parametrize(
    ("version", "lost", "reason"),
    [
        ("13.22", (), "bin is 13.22"),
        ("15.1", ("pg_restore", "psql"), "bin lacks pg_restore, psql"),
        ("", (), "bin is not able to run"),
        ("15.1", postgres.PROGRAMS, "no postgres on PATH or in the usual places"),
    ],
)
def test_unfit_installation_is_passed_over_and_told_why(  # noqa: PLR0913, PLR0917 - what the case consists of
    tmp_path: Path,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    version: str,
    lost: tuple[str, ...],
    reason: str,
) -> None:
    fill(tmp_path / "bin", version)
    for name in lost:
        (tmp_path / "bin" / name).unlink()
    assert postgres.ensure(environment, (Maker(),), ()).is_relative_to(tmp_path / "cache")
    assert reason in capsys.readouterr().err


def lose_marker(home: Path) -> None:
    (home / MARKER).unlink()


def damage_marker(home: Path) -> None:
    (home / MARKER).write_text('{"sizes": []}')


def lose_file(home: Path) -> None:
    (home / "wheel" / "share" / "postgres.bki").unlink()


def cut_file(home: Path) -> None:
    (home / "wheel" / "share" / "postgres.bki").write_text("c")


def lose_mode(home: Path) -> None:
    (home / "wheel" / "bin" / "psql").chmod(0o644)


def stop_running(home: Path) -> None:
    program = home / "wheel" / "bin" / "postgres"
    program.write_text(program.read_text().replace("echo", "fals"))


@pytest.mark.parametrize("harm", [lose_marker, damage_marker, lose_file, cut_file, lose_mode, stop_running])
def test_kept_one_that_broke_is_made_again(environment: dict[str, str], harm: Callable[[Path], None]) -> None:
    maker = Maker()
    folder = postgres.ensure(environment, (maker,), ())
    assert postgres.ensure(environment, (maker,), ()) == folder
    assert maker.calls == 1
    harm(folder.parent.parent)
    assert postgres.flaw(folder.parent.parent)
    assert postgres.ensure(environment, (maker,), ()) == folder
    assert maker.calls == 2
    assert postgres.flaw(folder.parent.parent) == ""


def test_next_way_is_gone_where_one_is_closed(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    def closed(into: Path, _: Environment) -> str:
        (into / "half").touch()
        raise Closed("no index")

    postgres.ensure(environment, (closed, Maker()), ())
    assert "no index" in capsys.readouterr().err
    with pytest.raises(Closed, match="install PostgreSQL"):
        postgres.ensure({**environment, "XDG_CACHE_HOME": environment["PATH"]}, (closed,), ())


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_server_leaves_nothing_however_its_user_ends(server: postgres.Server) -> None:
    """The user is killed in the middle, with a client connected: the server goes, and so does its folder."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tools import postgres\n"
        f"with postgres.served(Path({server.programs!r})) as one:\n"
        "    print(one.port, one.password, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        port, password = user.stdout.readline().split()
        url = postgres.Server(int(port), password, "").url()
        folder = Path(sql_at(url, "SHOW data_directory")[0][0])
        leader = int(sql_at(url, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")[0][0])
        user.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (folder.parent.exists() or alive(leader)):
        time.sleep(0.01)
    assert not folder.parent.exists()
    assert not alive(leader)


def test_server_is_its_users_alone(server: postgres.Server) -> None:
    """Reached over loopback with a password only, and not run by root."""
    assert sql_at(server.url(), "SHOW listen_addresses") == [("127.0.0.1",)]
    assert sql_at(server.url(), "SHOW unix_socket_directories") == [("",)]
    assert sql_at(server.url(), "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == [(0,)]
    folder = Path(sql_at(server.url(), "SHOW data_directory")[0][0])
    assert folder.stat().st_uid != 0
    assert folder.stat().st_mode & 0o077 == 0


def test_programs_that_others_cannot_reach_serve_all_the_same(
    server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a cache in root's home; other users run the server themselves, and reach what is theirs."""
    monkeypatch.setattr(postgres, "reaches", lambda *_: False)
    with postgres.running(Path(server.programs)) as another:
        assert sql_at(another.url(), "SELECT 1") == [(1,)]
        assert (another.programs != server.programs) == (os.geteuid() == 0)


def test_server_that_cannot_start_says_why(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "bin")
    script(tmp_path / "bin" / "initdb", 'case "$1" in --version) exit 0;; *) echo "no space left"; exit 1;; esac')
    with pytest.raises(Closed, match="initdb failed:\n  no space left"), postgres.running(tmp_path / "bin"):
        pass
    ended = subprocess.run(
        [sys.executable, "-m", "tools.postgres", "--programs"],
        env={**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == f"{tmp_path / 'bin'}\n"
    assert json.dumps("15.18")[1:-1] in ended.stderr
