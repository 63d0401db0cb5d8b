"""`make demo` ends well, and the README shows what it printed."""

import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tools import demo
from tools.sandbox import Stack

PROJECT = Path(__file__).resolve().parents[2]
TYPE = "pulumi-python:dynamic/squarecloud:"


def lines_of(text: str) -> list[str]:
    """Lines without what differs each time: types' prefixes, ids, times and durations."""
    ids = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text.replace(TYPE, ""))
    return [re.sub(r"\d+(\.\d+)?", "0", line).rstrip() for line in ids.splitlines()]


@pytest.fixture
def forked(forks: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine starts for the demo's stack are forks of a loaded Python."""

    class Forked(Stack):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.environment |= forks

    monkeypatch.setattr(demo, "Stack", Forked)


@pytest.mark.engine
@pytest.mark.usefixtures("forked")
def test_demo_shows_all_it_promises_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name for path in PROJECT.glob("Pulumi*")}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    heeded = signal.getsignal(signal.SIGTERM)
    try:
        status = demo.main()
    finally:
        signal.signal(signal.SIGTERM, heeded)
    shown = "".join(capfd.readouterr())
    assert status == 0, shown
    for promised in (
        "outputs show its time, progress ours",
        "One POST, answered 202",
        "download_url  [secret]",
        "3   Carla       open              -",
        "Requests sent to the service: 0",
        "forgotten: a14b8d5e1cb7405a851eb4c075506121/",
        "Everything was as it should be",
    ):
        assert promised in shown
    # The README leaves lines out, and shows the others in their order.
    printed = iter(lines_of(shown))
    (transcript,) = re.findall(
        r"^```text\n(.*?)^```",
        (PROJECT / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert [line for line in lines_of(transcript) if line not in printed] == [], shown
    assert "Signature" not in shown
    assert list(tmp_path.iterdir()) == []
    assert {path.name for path in PROJECT.glob("Pulumi*")} == before
