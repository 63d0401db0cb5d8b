"""The engine of a contributor's machine: the installed one where it fits, else one that is made once and repairs itself."""

import os
import re
import threading
import time
from pathlib import Path
from unittest import mock

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


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Stands for the build, and counts how often it ran."""
    maker = mock.Mock(side_effect=lambda into, _: fill(into))
    monkeypatch.setattr(engine, "build_engine", maker)
    return maker


# The installed one


@pytest.mark.parametrize("version", ["3.139.0", "3.275.0-alpha.x1b2c3"])
def test_installed_engine_is_used_and_alone_on_stdout(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: str,
) -> None:
    fill(tmp_path / "real", version)
    # A link to the command alone, as package managers make it.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pulumi").symlink_to(tmp_path / "real" / "pulumi")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert engine.main() == 0
    assert capsys.readouterr().out == f"{tmp_path / 'bin'}\n"


def test_unfit_installation_is_passed_over_and_told_why(
    tmp_path: Path, maker: mock.Mock, capsys: pytest.CaptureFixture[str]
) -> None:
    unfit: list[tuple[dict[str, str], str]] = [
        ({}, "no pulumi on PATH"),
        (
            dict.fromkeys(engine.FILES, "echo v3.138.9"),
            "is 3.138.9, older than 3.139.0",
        ),
        (dict.fromkeys(engine.FILES, "exit 1"), "does not run"),
        (dict.fromkeys(engine.FILES, "echo what?"), "does not run"),
        ({"pulumi": "echo v3.200.0"}, "no pulumi-language-python"),
        (
            {"pulumi": "echo v3.200.0", "pulumi-language-python": ""},
            "no pulumi-resource-pulumi-python",
        ),
    ]
    for number, (installation, reason) in enumerate(unfit):
        folder = tmp_path / str(number)
        for name, text in installation.items():
            script(folder / name, text)
        made = engine.ensure(
            {"PATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        )
        assert made.is_relative_to(folder / "cache")
        assert reason in capsys.readouterr().err
        assert maker.call_count == number + 1


# The kept one


def test_kept_engine_is_made_once_and_again_when_it_broke(
    environment: dict[str, str], maker: mock.Mock
) -> None:
    home = engine.ensure(environment)
    assert engine.ensure(environment) == home
    assert maker.call_count == 1
    script(home / "pulumi", f"fals v{engine.ENGINE}")
    assert engine.ensure(environment) == home
    assert maker.call_count == 2
    assert engine.version_of(home / "pulumi") == engine.ENGINE


def test_killed_or_interrupted_build_leaves_nothing_and_is_no_engine(
    environment: dict[str, str], maker: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(into: Path, _: engine.Environment) -> None:
        fill(into)
        raise KeyboardInterrupt

    with monkeypatch.context() as while_it_builds:
        while_it_builds.setattr(engine, "build_engine", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.ensure(environment)
    cache = Path(environment["XDG_CACHE_HOME"]) / "pulumi-snapshots"
    (lock,) = cache.iterdir()
    killed = cache / f"{lock.stem}.making-killed"
    fill(killed)
    (killed / "modules").mkdir(mode=0o555)
    home = engine.ensure(environment)
    assert maker.call_count == 1
    assert set(cache.iterdir()) == {home, lock}


def test_builds_at_the_same_time_make_one_engine(
    environment: dict[str, str], maker: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = threading.Event()
    go_on = threading.Event()

    def slow(into: Path, own: engine.Environment) -> None:
        building.set()
        go_on.wait(60)
        maker(into, own)

    monkeypatch.setattr(engine, "build_engine", slow)
    homes: list[Path] = []
    threads = [
        threading.Thread(target=lambda: homes.append(engine.ensure(environment)))
        for _ in range(2)
    ]
    threads[0].start()
    assert building.wait(60)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(homes) == 2
    assert maker.call_count == len(set(homes)) == 1


def test_what_was_not_used_for_days_makes_room_for_another_of_its_kind(
    environment: dict[str, str],
) -> None:
    homes = []
    for name, days in (
        ("frozen-a", 9),
        ("frozen-b", 2),
        ("frozen-more-a", 9),
        ("sdks-a", 9),
        ("frozen-c", 0),
    ):
        homes.append(engine.kept(environment, name, lambda *_: None))
        os.utime(engine.lock_of(homes[-1]), (time.time() - days * 86_400,) * 2)
    engine.kept(environment, "frozen-d", lambda *_: None)
    assert [home.exists() for home in homes] == [False, True, True, True, True]


# What is cut out of its source


def test_a_pattern_that_cuts_nothing_fails_and_names_itself(tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    text = 'import (\n\t"net/url"\n\t"esc/cli"\n)\n'
    source.write_text(text)
    with pytest.raises(engine.Closed, match=r"\*\.go matches '\^gone'"):
        engine.cut(tmp_path, "*.go", r'^\t"(net|esc)/.*\n|^gone')
    assert source.read_text() == text
    engine.cut(tmp_path, "*.go", r'^\t"(net|esc)/.*\n')
    assert source.read_text() == "import (\n)\n"


def test_a_file_that_is_gone_fails_like_a_pattern(tmp_path: Path) -> None:
    with pytest.raises(engine.Closed, match=r"nothing in gone\.go matches"):
        engine.cut(tmp_path, "gone.go", "x")


@pytest.mark.parametrize("pattern", engine.LEFT_OUT.values())
def test_each_alternative_of_a_pattern_is_tried(pattern: str) -> None:
    assert "|".join(engine.alternatives(pattern)) == pattern
    assert all(re.compile(each) for each in engine.alternatives(pattern))


def test_the_whole_engine_is_one_variable_away(
    environment: dict[str, str], maker: mock.Mock
) -> None:
    cut = engine.ensure(environment)
    whole = engine.ensure({**environment, engine.WHOLE_ENGINE: "1"})
    assert whole != cut
    assert engine.left_out({engine.WHOLE_ENGINE: "1"}) == {}
    assert engine.left_out({}) == engine.LEFT_OUT
    assert maker.call_count == 2
