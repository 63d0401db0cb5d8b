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
MAKES = 'mkdir -p "$3" "$5"; cp "$1" "$3/schema.json"; echo go > "$5/go.mod"'
NPM = 'mkdir -p node_modules/@pulumi/pulumi node_modules/typescript node_modules/@types/node; for f in node_modules/*/ node_modules/@*/*/; do echo "{}" > "$f/package.json"; done; cat package.json > "$NPM_LOG"'


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SDKGEN": MAKES,
        "GO_LOG": str(tmp_path / "go.log"),
        "NPM_LOG": str(tmp_path / "npm.log"),
    }
    script(tmp_path / "bin" / "go", GO)
    for name, text in found.items():
        monkeypatch.setenv(name, text)
    return found


def made(environment: dict[str, str]) -> int:
    return Path(environment["GO_LOG"]).read_text().count("made")


def test_sdks_are_generated_from_the_schema_with_a_generator_that_is_compiled_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "sdks" / "nodejs").mkdir(parents=True)
    (tmp_path / "sdks" / "nodejs" / "left-over.ts").touch()
    for _ in range(2):
        sdks.generate(environment, tmp_path / "sdks")
    assert sorted(path.name for path in (tmp_path / "sdks").iterdir()) == ["go", "nodejs"]
    assert [path.name for path in (tmp_path / "sdks" / "nodejs").iterdir()] == ["schema.json"]
    assert '"squarecloud:index:Snapshot"' in (tmp_path / "sdks" / "nodejs" / "schema.json").read_text()
    assert made(environment) == 1
    sdks.generator(environment).write_text("#!/bin/sh\n")  # cut short
    sdks.generator(environment)
    assert made(environment) == 2


def test_a_generator_that_fails_leaves_what_was_there(tmp_path: Path, environment: dict[str, str]) -> None:
    sdks.generate(environment, tmp_path / "sdks")
    sdks.generator(environment).write_text('#!/bin/sh\n[ $# -gt 0 ] || { echo "usage: sdkgen" >&2; exit 1; }\n')
    environment["SDKGEN"] = 'echo "no such type" >&2; exit 1'
    with pytest.raises(Closed, match="the generator failed: no such type"):
        sdks.generate(environment, tmp_path / "sdks")
    assert (tmp_path / "sdks" / "go" / "go.mod").is_file()


def test_packages_are_those_of_the_example_but_for_the_generated_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script(tmp_path / "bin" / "node", "")
    script(tmp_path / "bin" / "npm", NPM)
    folder = sdks.node_modules(environment)
    assert (folder / "@pulumi" / "pulumi" / "package.json").is_file()
    asked = Path(environment["NPM_LOG"]).read_text()
    assert '"typescript"' in asked
    assert sdks.OURS not in asked


@pytest.mark.usefixtures("environment")
def test_what_is_missing_is_told_and_does_not_stop_the_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.argv", ["sdks", "--prepare"])
    monkeypatch.setattr(
        "tools.engine.compiled_with_borrowed_go", lambda *_, **__: (_ for _ in ()).throw(Closed("no PyPI"))
    )
    assert sdks.main() == 0
    told = capsys.readouterr().err
    assert "tests of other languages will be skipped: no way is open: install Go" in told
    assert "tests of other languages will be skipped: no node on PATH" in told
    monkeypatch.setattr("sys.argv", ["sdks"])
    assert sdks.main() == 1
