import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import engine


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def fill(directory: Path, version: str = engine.ENGINE) -> None:
    for name in engine.FILES:
        script(directory / name, f"echo v{version}")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


class Maker:
    """A way to an engine that counts how often it was gone."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, into: Path, _: engine.Environment) -> str:
        self.calls += 1
        fill(into)
        return "made by a test"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.274.1\n", (3, 274, 1)),
        ("3.139.0", (3, 139, 0)),
        ("v3.275.0-alpha.x1b2c3", (3, 275, 0)),
        ("go1.26.8", None),
        ("", None),
    ],
)
def test_version_of_every_kind_of_release_is_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert engine.parse_version(text) == version


@pytest.mark.parametrize("version", ["3.139.0", "3.274.1", "4.0.0"])
def test_installed_engine_is_used(tmp_path: Path, environment: dict[str, str], version: str) -> None:
    fill(tmp_path / "bin", version)
    assert engine.ensure(environment, ()) == tmp_path / "bin"


def test_installed_engine_may_have_its_plugins_elsewhere(tmp_path: Path, environment: dict[str, str]) -> None:
    fill(tmp_path / "real")
    for name in engine.FILES[1:]:  # a link to the command alone, as package managers make them
        assert (tmp_path / "real" / name).exists()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pulumi").symlink_to(tmp_path / "real" / "pulumi")
    assert engine.ensure(environment, ()) == tmp_path / "bin"


@pytest.mark.parametrize(
    ("installation", "reason"),
    [
        ({}, "no pulumi on PATH"),
        (dict.fromkeys(engine.FILES, "echo v3.138.9"), "is 3.138.9, older than 3.139.0"),
        (dict.fromkeys(engine.FILES, "exit 1"), "does not run"),
        (dict.fromkeys(engine.FILES, "echo what?"), "does not run"),
        ({"pulumi": "echo v3.200.0"}, "no pulumi-language-python"),
        (
            {"pulumi": "echo v3.200.0", "pulumi-language-python": ""},
            "no pulumi-resource-pulumi-python",
        ),
    ],
)
def test_unfit_installation_is_passed_over_and_told_why(
    tmp_path: Path,
    environment: dict[str, str],
    installation: dict[str, str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in installation.items():
        script(tmp_path / "bin" / name, text)
    home = engine.ensure(environment, (Maker(),))
    assert home.is_relative_to(tmp_path / "cache")
    assert reason in capsys.readouterr().err


def test_engine_is_made_once(environment: dict[str, str]) -> None:
    maker = Maker()
    assert engine.ensure(environment, (maker,)) == engine.ensure(environment, (maker,))
    assert maker.calls == 1


def damage_marker(home: Path) -> None:
    (home / engine.MARKER).write_text("{")


def lose_marker(home: Path) -> None:
    (home / engine.MARKER).unlink()


def lose_file(home: Path) -> None:
    (home / engine.FILES[3]).unlink()


def cut_file(home: Path) -> None:
    with (home / engine.FILES[1]).open("r+") as file:
        file.truncate(4)


def lose_mode(home: Path) -> None:
    (home / engine.FILES[2]).chmod(0o644)


def stop_running(home: Path) -> None:
    (home / "pulumi").write_text((home / "pulumi").read_text().replace("echo", "fals"))


@pytest.mark.parametrize("harm", [damage_marker, lose_marker, lose_file, cut_file, lose_mode, stop_running])
def test_kept_engine_that_broke_is_made_again(environment: dict[str, str], harm: Callable[[Path], None]) -> None:
    maker = Maker()
    home = engine.ensure(environment, (maker,))
    harm(home)
    assert engine.flaw(home)
    assert engine.ensure(environment, (maker,)) == home
    assert not engine.flaw(home)
    assert maker.calls == 2


def test_killed_build_leaves_nothing_behind_for_long(environment: dict[str, str]) -> None:
    home = engine.ensure(environment, (Maker(),))
    left_over = home.parent / f"{home.name}.making-killed"
    fill(left_over)
    (left_over / "modules").mkdir(mode=0o555)
    lose_marker(home)
    engine.ensure(environment, (Maker(),))
    assert sorted(entry.name for entry in home.parent.iterdir()) == [home.name, f"{home.name}.lock"]


def test_interrupted_build_is_not_taken_for_an_engine(environment: dict[str, str]) -> None:
    def interrupted(into: Path, _: engine.Environment) -> str:
        fill(into)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.ensure(environment, (interrupted,))
    maker = Maker()
    engine.ensure(environment, (maker,))
    assert maker.calls == 1


def test_runs_at_the_same_time_make_one_engine(environment: dict[str, str]) -> None:
    both_came = threading.Barrier(2)
    building = threading.Event()
    maker = Maker()

    def slow(into: Path, own: engine.Environment) -> str:
        building.set()
        both_came.wait(10)
        return maker(into, own)

    homes: list[Path] = []
    first = threading.Thread(target=lambda: homes.append(engine.ensure(environment, (slow,))))
    second = threading.Thread(target=lambda: homes.append(engine.ensure(environment, (maker,))))
    first.start()
    assert building.wait(10)
    second.start()
    both_came.wait(10)
    first.join(10)
    second.join(10)
    assert homes[0] == homes[1]
    assert maker.calls == 1


def closed(_: Path, __: engine.Environment, why: str) -> str:
    raise engine.Closed(why)


def wrong(into: Path, _: engine.Environment) -> str:
    fill(into, "3.1.0")
    return "another version"


def test_ways_are_tried_in_turn_and_each_says_why_it_is_closed(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    ways = (partial(closed, why="the first has no network"), wrong, Maker())
    engine.ensure(environment, ways)
    told = capsys.readouterr().err
    assert told.index("the first has no network") < told.index("another version: it does not run")
    assert "made by a test" in told


def test_no_way_at_all_names_the_way_out(environment: dict[str, str]) -> None:
    with pytest.raises(engine.Closed, match="install Pulumi"):
        engine.ensure(environment, (partial(closed, why="no"),))


def test_stdout_is_the_directory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert engine.main() == 0
    assert capsys.readouterr().out == f"{tmp_path / 'bin'}\n"


# The official release, from a server on this machine


class Server:
    """Serves an archive and its checksums."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                page = outer.pages.get(self.path.rpartition("/")[2])
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                self.wfile.write(page or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sdk"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def publish(self, archive: bytes, checksum: str | None = None) -> None:
        name = f"pulumi-v{engine.ENGINE}-linux-x64.tar.gz"
        self.pages[name] = archive
        digest = checksum or hashlib.sha256(archive).hexdigest()
        self.pages[f"pulumi-{engine.ENGINE}-checksums.txt"] = f"{'0' * 64}  other.zip\n{digest}  {name}\n".encode()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    server = Server()
    yield server
    server.close()


def archive(*names: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as content:
        for name in names:
            text = f"#!/bin/sh\necho v{engine.ENGINE}\n".encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            content.addfile(member, io.BytesIO(text))
    return data.getvalue()


RELEASE = (*(f"pulumi/{name}" for name in engine.FILES), "pulumi/pulumi-language-go", "../outside")


def test_release_is_downloaded_checked_and_only_its_needed_files_are_kept(
    environment: dict[str, str], server: Server, tmp_path: Path
) -> None:
    server.publish(archive(*RELEASE))
    home = engine.ensure(environment, (partial(engine.released, server=server.url),))
    assert {file.name for file in home.iterdir()} == {*engine.FILES, engine.MARKER}
    assert json.loads((home / engine.MARKER).read_text())["origin"] == "official release"
    assert not list(tmp_path.rglob("outside"))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("published", "checksum", "reason"),
    [
        (archive(*RELEASE), "1" * 64, "is not what its checksum says"),
        (archive(*RELEASE[:3]), None, "lacks pulumi-resource-pulumi-python"),
        (b"<html>sign in to the hotel's network</html>", None, "not a gzip file"),
        (None, None, "404"),
    ],
)
def test_release_that_is_not_right_is_refused(
    tmp_path: Path, server: Server, published: bytes | None, checksum: str | None, reason: str
) -> None:
    if published is not None:
        server.publish(published, checksum)
    with pytest.raises(engine.Closed, match=reason):
        engine.released(tmp_path, {}, server.url)


def test_release_without_a_checksum_is_refused(tmp_path: Path, server: Server) -> None:
    server.publish(archive(*RELEASE))
    server.pages[f"pulumi-{engine.ENGINE}-checksums.txt"] = b"<html>welcome</html>"
    with pytest.raises(engine.Closed, match="has no published checksum"):
        engine.released(tmp_path, {}, server.url)


def test_server_out_of_reach_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(engine.Closed, match=r"no official release: 127.0.0.1: .*refused"):
        engine.released(tmp_path, {}, f"http://127.0.0.1:{port}")


def test_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    never = threading.Event()
    monkeypatch.setattr(engine, "REACH_SECONDS", 0.05)
    monkeypatch.setattr(engine, "fetched", lambda _: iter(lambda: b"." if never.wait(10) else b"", b""))
    with pytest.raises(engine.Closed, match="no answer within"):
        engine.released(tmp_path, {}, server.url)
    never.set()


def test_unencrypted_release_server_is_refused(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    server.publish(archive(*RELEASE))
    url = server.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(OSError, match="refuses to download over http"):
        next(engine.fetched(f"{url}/pulumi-{engine.ENGINE}-checksums.txt"))


def test_other_platform_has_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(engine.Closed, match="riscv64"):
        engine.released(tmp_path, {})


# Go


def test_too_old_go_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "go", "echo go1.24.3")
    with pytest.raises(engine.Closed, match=r"is go1.24.3, older than 1.25.11"):
        engine.built(tmp_path, {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/bin"})


def test_failed_build_shows_its_last_words(tmp_path: Path) -> None:
    build = 'case "$1" in env) echo go1.27;; *) echo "no space left on device" >&2; exit 1;; esac'
    script(tmp_path / "bin" / "go", build)
    with pytest.raises(engine.Closed, match="no space left on device"):
        engine.built(tmp_path, {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/bin"})


def test_no_go_is_told(tmp_path: Path) -> None:
    with pytest.raises(engine.Closed, match="no Go on PATH"):
        engine.built(tmp_path, {"PATH": str(tmp_path)})


def test_long_work_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "HEARTBEAT_SECONDS", 0.05)
    work = "echo 'go: downloading a' >&2; echo some/package >&2; read line < fifo; echo done"
    os.mkfifo(tmp_path / "fifo")
    script(tmp_path / "work", work)

    def answer() -> None:
        while "1 modules downloaded, 1 packages compiled" not in capsys.readouterr().err:
            pass
        (tmp_path / "fifo").write_text("go on\n")

    thread = threading.Thread(target=answer)
    thread.start()
    assert engine.run([str(tmp_path / "work")], "working", tmp_path, os.environ) == "done\n"
    thread.join(10)
