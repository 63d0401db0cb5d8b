import os
from pathlib import Path

import pytest

from tests.tools.test_engine import script
from tools import sdks
from tools.engine import Closed

GO = r"""
case "$1" in
  env) echo go1.27;;
  build)
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\n[ $# -gt 0 ] || { echo "usage: sdkgen" >&2; exit 1; }\n%s\n' "$SDKGEN" > "$2"
    chmod 755 "$2"
    echo made >> "$GO_LOG";;
esac
"""
"""A Go whose programs do what the environment says."""
MAKES = 'mkdir -p "$3" "$5" "$7"; cp "$1" "$3/schema.json"; echo go > "$5/go.mod"'


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SDKGEN": MAKES,
        "GO_LOG": str(tmp_path / "go.log"),
    }
    script(tmp_path / "bin" / "go", GO)
    for name, text in found.items():
        monkeypatch.setenv(name, text)
    return found


def test_sdks_are_generated_with_a_generator_that_is_compiled_once_and_whole(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "sdks" / "nodejs").mkdir(parents=True)
    (tmp_path / "sdks" / "nodejs" / "left-over.ts").touch()
    for _ in range(2):
        sdks.generate(environment, tmp_path / "sdks")
    assert sorted(path.name for path in (tmp_path / "sdks").iterdir()) == ["go", "nodejs", "python"]
    assert [path.name for path in (tmp_path / "sdks" / "nodejs").iterdir()] == ["schema.json"]
    assert '"squarecloud:index:Snapshot"' in (tmp_path / "sdks" / "nodejs" / "schema.json").read_text()
    sdks.generator(environment).write_text("#!/bin/sh\n")  # cut short
    environment["SDKGEN"] = 'echo "no such type" >&2; exit 1'
    with pytest.raises(Closed, match="the generator failed: no such type"):
        sdks.generate(environment, tmp_path / "sdks")
    assert (tmp_path / "sdks" / "go" / "go.mod").is_file(), "a generator that fails leaves what was there"
    assert Path(environment["GO_LOG"]).read_text().count("made") == 2


@pytest.mark.usefixtures("environment")
def test_a_missing_tool_is_reported_and_does_not_stop_the_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.argv", ["sdks", "--prepare"])
    assert sdks.main() == 0
    told = capsys.readouterr().err
    assert "tests of other languages will be skipped: no Go on PATH to build one: install Go" in told
    assert "tests of other languages will be skipped: no node on PATH" in told
    monkeypatch.setattr("sys.argv", ["sdks"])
    assert sdks.main() == 1
