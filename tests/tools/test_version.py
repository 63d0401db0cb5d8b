"""The version stands once, and everything that repeats it follows."""

import shutil
from pathlib import Path

import pytest

from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from tools import version

PROJECT = Path(__file__).resolve().parents[2]


def test_every_place_says_the_version_of_the_project() -> None:
    assert version.differing() == [], "run `python tools/version.py X.Y.Z`"
    assert version.current() == PLUGIN_VERSION, "run `make environment`"


def test_a_new_version_is_written_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (version.SOURCE[0], *version.PLACES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    version.write("7.8.9", tmp_path)
    assert version.current(tmp_path) == "7.8.9"
    assert version.differing(tmp_path) == []
    go = tmp_path / "examples" / "go" / "go.mod"
    go.write_text(go.read_text().replace("7.8.9", "1.0.0"))
    assert version.differing(tmp_path) == ["examples/go/go.mod says 1.0.0"]
    monkeypatch.setattr(version, "PROJECT", tmp_path)
    assert version.main(["next"]) == 2
    assert "usage" in capsys.readouterr().err
