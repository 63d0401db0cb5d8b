"""For tests of your own programs.

Pytest finds it by itself, and the emulator is loaded by the first test that asks for it.

@pytest.mark.squarecloud_emulator("--database", "a14b8d5e1cb7405a851eb4c075506121",
"--snapshot-seconds", "5") def test_a_release_takes_one_snapshot(squarecloud_emulator): ... assert
[entry.kind for entry in squarecloud_emulator.journal].count("create") == 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from squarecloud_emulator import Emulator

MARKER = "squarecloud_emulator"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*options): options of the command squarecloud-emulator for this test",
    )


@pytest.fixture
def squarecloud_emulator(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Emulator]:
    """An emulated Square Cloud of this test, which the environment has programs use.

    The environment has its addresses and a new key. What runs remember is in the test's own folder.
    """
    marker = request.node.get_closest_marker(MARKER)
    try:
        from squarecloud_emulator.nearby import nearby  # noqa: PLC0415  only a test that asks for it needs the extra
    except ModuleNotFoundError as missing:
        pytest.fail(
            f"the emulator needs {missing.name}: pip install 'pulumi-snapshots[emulator]'",
            pytrace=False,
        )
    with nearby(*(marker.args if marker else ())) as emulator:
        monkeypatch.setenv("SQUARECLOUD_API_KEY", emulator.settings.api_key)
        monkeypatch.setenv("SQUARECLOUD_API_URL", emulator.api_url)
        monkeypatch.setenv("SQUARECLOUD_SNAPSHOTS_URL", emulator.snapshots_url)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "squarecloud-state"))
        yield emulator
