"""What a provider's process makes once, and what it makes only when something needs it."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pulumi.dynamic import Config, ConfigureRequest

from pulumi_snapshots.dynamic import engine_access, provider, run
from pulumi_snapshots.dynamic.engine_access import EngineError
from pulumi_snapshots.first_use import FirstUse
from tests.snapshot.test_snapshot import EXAMPLE

EVENT_LOOP = "snapshots"
"""The name of its thread."""
INPUTS = EXAMPLE.good
STATE = EXAMPLE.state


def configured(**settings: str) -> provider.Provider:
    """A provider of a stack with this config."""
    made = provider.SnapshotProvider()
    raw = {f"squarecloud:{name}": value for name, value in settings.items()}
    made.configure(ConfigureRequest(Config(raw, "project")))
    return made


@pytest.fixture(autouse=True)
def _own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own, as far as the run goes."""
    monkeypatch.setattr(run, "shared_run", FirstUse(run.Run))


def event_loops() -> int:
    return [each.name for each in threading.enumerate()].count(EVENT_LOOP)


class CountedConfig(Config):
    """A stack's config that counts how often its API key is read."""

    reads = 0

    def get(self, key: str) -> Any:
        self.reads += key == "squarecloud:apiKey"
        return super().get(key)


def test_a_provider_reads_its_settings_once() -> None:
    config = CountedConfig({"squarecloud:apiKey": "account-key"}, "project")
    made = provider.SnapshotProvider()
    made.configure(ConfigureRequest(config))
    assert config.reads == 0, "a destroy works with a bad config"
    for _ in range(3):
        assert made.check(STATE, INPUTS).failures == []
        assert made.diff("a/v", STATE, INPUTS).changes is False
    assert config.reads == 1


def test_each_stack_has_its_own_settings_also_a_wrong_one() -> None:
    good = configured(requestsPerMinute="20")
    wrong = {text: configured(requestsPerMinute=text) for text in ("no", "never")}
    for _ in range(2):
        for text, each in wrong.items():
            with pytest.raises(EngineError, match=f"requestsPerMinute.*{text}"):
                each.check({}, INPUTS)
        assert good.check({}, INPUTS).failures == []


def test_checks_and_comparisons_start_no_event_loop_and_operations_one() -> None:
    before = event_loops()
    made = configured(apiKey="account-key")
    made.check(STATE, INPUTS)
    made.diff("a/v", STATE, INPUTS)
    assert event_loops() == before

    async def thread() -> int:
        return threading.get_ident()

    with ThreadPoolExecutor(20) as pool:
        at_once = [pool.submit(run.shared_run().carry_out, thread) for _ in range(20)]
    assert len({each.result() for each in at_once}) == 1
    assert event_loops() == before + 1


def test_the_server_is_looked_for_once_and_no_garbage_collected_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CPython's issue 106883: with a collection in the middle, no thread of Python 3.11.8 runs any more."""
    collects = list[bool]()

    def current_frames() -> dict[int, object]:
        collects.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    find = FirstUse(engine_access._find_server_state)
    monkeypatch.setattr(engine_access, "_server_state", find)
    for _ in range(3):
        engine_access.widen(5)
    assert collects == [False]
    assert gc.isenabled()
