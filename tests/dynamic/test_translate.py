"""What a call costs in the provider's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi.dynamic import Config, ConfigureRequest

from pulumi_snapshots.dynamic import translate
from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.dynamic.run import Run

if TYPE_CHECKING:
    import pytest

VERSION = "ef134f2a-180b-405d-a91a-b32d2976f51d"


class CountingRun(Run):
    """A run that counts what it is asked to carry out on its event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = 0

    def carry_out(self, operation: Any) -> Any:
        self.entered += 1
        return super().carry_out(operation)


def test_diffs_of_a_state_with_nothing_to_note_enter_the_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each entry costs two changes of thread, which is most of what a diff without a change would take.
    run = CountingRun()
    monkeypatch.setattr(translate, "this_run", lambda: run)
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "k" * 64)
    provider = SnapshotProvider()
    provider.configure(ConfigureRequest(Config({}, "app")))
    for number in range(5):
        inputs = {"database_id": f"{number:032x}"}
        state = {**inputs, "version_id": VERSION, "created_at": "2026-11-26T10:00:00Z", "available": True}
        assert not provider.diff(f"{number:032x}/{VERSION}", state, inputs).changes
    assert run.entered == 1
