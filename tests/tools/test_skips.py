"""A test that is skipped is a failure where the machine has to have all but what is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import MAY_LACK

PROJECT = Path(__file__).resolve().parents[2]
SKIPPED = """
import pytest
from tests.support.machine import lacks

def test_of_a_server():
    lacks("ferretdb", "no Go on PATH to build it")

@pytest.mark.skip(reason="not today")
def test_of_nothing():
    pass
"""


WHOLE_MODULE = """
import pytest

pytest.importorskip("no_such_library")

def test_of_a_library():
    pass
"""


@pytest.mark.parametrize(
    ("may_lack", "failures"),
    [
        pytest.param(None, 0, id="at a contributor's"),
        pytest.param("", 2, id="nothing may be missing"),
        pytest.param("npm ferretdb", 1, id="named"),
    ],
)
def test_a_skipped_test_fails_unless_what_is_missing_is_named(
    tmp_path: Path, may_lack: str | None, failures: int
) -> None:
    ended = _ran(tmp_path, SKIPPED, may_lack)
    assert ended.returncode == (1 if failures else 0), ended.stdout
    summary = ended.stdout.splitlines()[-1]
    assert (
        f"{2 - failures} skipped" in summary
        if failures < 2
        else "skipped" not in summary
    )
    assert ("add its name to TESTS_MAY_LACK" in ended.stdout) is (may_lack == "")


@pytest.mark.parametrize(
    ("may_lack", "is_failure"),
    [
        pytest.param(None, False, id="at a contributor's"),
        pytest.param("", True, id="nothing may be missing"),
    ],
)
def test_a_module_that_is_skipped_whole_fails_too(
    tmp_path: Path, may_lack: str | None, *, is_failure: bool
) -> None:
    ended = _ran(tmp_path, WHOLE_MODULE, may_lack)
    assert ("1 error" in ended.stdout) is is_failure, ended.stdout
    assert ("could not import 'no_such_library'" in ended.stdout) is is_failure


def _ran(
    folder: Path, module: str, may_lack: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a module of tests with the hooks of this project's tests."""
    written = folder / "test_skipped.py"
    written.write_text(module)
    environment = {key: text for key, text in os.environ.items() if key != MAY_LACK}
    if may_lack is not None:
        environment[MAY_LACK] = may_lack
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins]
    environment["PYTHONPATH"] = str(PROJECT)
    return subprocess.run(  # noqa: S603  this very interpreter
        [*command, "--rootdir", str(folder), str(written)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_continuous_integration_bounds_what_is_skipped() -> None:
    script = (PROJECT / ".ci" / "run").read_text()
    assert f'export {MAY_LACK}="${{{MAY_LACK}-}}"' in script
