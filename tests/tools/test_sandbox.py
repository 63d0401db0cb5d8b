import urllib.request
from pathlib import Path

import pytest

from tools.sandbox import Emulator, Failed


def test_emulator_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="the emulator did not start") as failure:
        Emulator("--no-such-option", log=tmp_path / "log")
    assert (tmp_path / "log").read_text() in str(failure.value)


def test_emulator_is_reached_through_its_environment_and_controlled(tmp_path: Path) -> None:
    with Emulator("--database", "a1:postgres", log=tmp_path / "log") as emulator:
        assert emulator.sql("a1", "CREATE TABLE t (n)", "INSERT INTO t VALUES (7)", "SELECT n FROM t")[-1] == [[7]]
        request = urllib.request.Request(f"{emulator.environment['SQUARECLOUD_API_URL']}/users/me")  # noqa: S310
        request.add_header("Authorization", emulator.environment["SQUARECLOUD_API_KEY"])
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            assert response.status == 200
        assert [entry["kind"] for entry in emulator.journal()] == ["me"]
        emulator.control("journal", method="DELETE")
        assert emulator.journal() == []
    assert emulator.process.poll() is not None
