"""A folder that two users of one machine share: each writes the ledger, or is told what to do; root is needed to be both."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")

FIRST, SECOND, TEAM = 60_001, 60_002, 60_100
RUN = """
import os, sys
from pathlib import Path
import anyio
from pulumi_snapshots.errors import LedgerUnavailable
from pulumi_snapshots.engine.wording import PYTHON
from tests.ledger.racing import raise_it
user, folder = int(sys.argv[1]), sys.argv[2]
anyio.run(anyio.sleep, 0)  # loads the rest, which another user may be unable to read
os.setgroups([60_100]); os.setgid(user); os.setuid(user); os.umask(0o022)
try:
    anyio.run(raise_it, folder, Path("/nowhere"), 2)
except LedgerUnavailable as error:
    sys.exit(PYTHON.report(error))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as above:  # pytest's own is closed for other users
        Path(above).chmod(0o755)
        yield Path(above) / "shared"


def run_as(user: int, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603  this very interpreter
        [sys.executable, "-c", RUN, str(user), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}
    return done.stderr


def made(folder: Path, owner: int, group: int, mode: int) -> None:
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)


@pytest.mark.parametrize(("group", "mode"), [(TEAM, 0o2775), (TEAM, 0o770), (FIRST, 0o777)])
def test_a_folder_that_both_may_write_works_for_both(folder: Path, group: int, mode: int) -> None:
    made(folder, FIRST, group, mode)
    assert [run_as(user, folder) for user in (FIRST, SECOND, FIRST)] == ["", "", ""]


def test_the_folder_in_a_backend_is_made_so_that_both_may_write_it(folder: Path) -> None:
    made(folder, FIRST, TEAM, 0o2775)
    own = folder / ".pulumi-snapshots"
    assert [run_as(user, own) for user in (SECOND, FIRST)] == ["", ""]
    assert run_as(FIRST, folder / "other" / ".pulumi-snapshots").count("there is no such folder") == 1


def test_a_folder_that_only_one_may_write_tells_the_other_what_to_do(folder: Path) -> None:
    made(folder, FIRST, TEAM, 0o755)
    assert run_as(FIRST, folder) == ""
    said = run_as(SECOND, folder)
    assert "squarecloud:sharedState cannot be used" in said
    assert "Nothing was started" in said
    assert f"chgrp -R GROUP {folder} && chmod -R g+rwXs {folder}" in said
    subprocess.run(f"chgrp -R {TEAM} {folder} && chmod -R g+rwXs {folder}", shell=True, check=True)  # noqa: S602
    assert [run_as(user, folder) for user in (SECOND, FIRST)] == ["", ""], "what it says helps"
