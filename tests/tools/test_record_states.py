"""What `make states` keeps, and that it leaves earlier records alone; a release runs the rest with a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import record_states

if TYPE_CHECKING:
    import pytest

SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def test_a_secret_is_kept_as_the_engine_hands_it_over() -> None:
    exported = {"url": {SIGNATURE: SECRET, "plaintext": '"https://x"'}, "list": [{"a": 1}, None], "size": 3}
    kept = {"url": {SIGNATURE: SECRET, "value": "https://x"}, "list": [{"a": 1}, None], "size": 3}
    assert record_states._plain(exported) == kept


def test_a_record_of_a_released_version_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["record_states", "0.1.0"])
    assert record_states.main() == 1
    assert "0.1.0 is there: what a released version has left does not change" in capsys.readouterr().out
