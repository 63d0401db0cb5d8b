"""What the plugin has left in the state, read by the dynamic provider after the import line was changed back."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider
from tests.dynamic import test_lifecycle as snapshots
from tests.dynamic import test_restore_lifecycle as restores
from tests.support.plugin_servicer import CAMEL, renamed

STATES = [
    (SnapshotProvider, snapshots.STATE, snapshots.INPUTS),
    (SnapshotProvider, snapshots.PENDING, snapshots.INPUTS),
    (RestoreProvider, {**restores.STATE, "triggers": [{"b_c": 1.0}]}, {**restores.GOOD, "triggers": [{"b_c": 1.0}]}),
]


@pytest.mark.parametrize(("kind", "state", "inputs"), STATES, ids=["snapshot", "pending snapshot", "restore"])
def test_a_state_of_the_plugin_is_updated_once_and_nothing_is_replaced(
    kind: Any, state: dict[str, Any], inputs: dict[str, Any]
) -> None:
    provider = kind()
    provider._config = {}
    found = provider.diff("id", renamed(state, CAMEL), inputs)
    assert (found.changes, found.replaces) == (True, [])
    if state.get("attempt") is None:
        outputs = provider.update("id", renamed(state, CAMEL), inputs).outs
        assert {name: outputs[name] for name in state if name in outputs and name != "download_url"} == {
            name: value for name, value in state.items() if name in outputs and name != "download_url"
        }
        assert not provider.diff("id", outputs, inputs).changes
