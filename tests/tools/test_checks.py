"""The checks of `tools/checks.py`: their programs start from the folder that they are kept in."""

import json
import venv
from pathlib import Path

import pytest

from tools import checks, lock
from tools.engine import Environment

RECORDS = """\
import json, pathlib, sys
pathlib.Path({record!r}).write_text(json.dumps(sys.argv[1:]))
sys.exit({status})
"""


@pytest.mark.parametrize("status", [0, 1])
def test_flaws_are_asked_for_by_tools_that_were_moved_after_they_were_installed(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip writes into each script which folder's Python runs it: one that is gone after the move."""
    record = tmp_path / "arguments"

    def install(into: Path, _: Environment) -> None:
        venv.create(into, with_pip=False)
        script = into / "bin" / "pip-audit"
        script.write_text(f"#!{into}/bin/python\nimport pip_audit\n")
        script.chmod(0o755)
        (packages,) = into.glob("lib/python*/site-packages")
        module = RECORDS.format(record=str(record), status=status)
        (packages / "pip_audit.py").write_text(module)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checks, "_install", install)
    assert checks.main(["--flaws"]) == status
    arguments = json.loads(record.read_text())
    assert Path(arguments[-1]).samefile(lock.LOCKS / "requirements.txt")
    assert "--strict" in arguments, "a library that nothing is known of has no flaw"
