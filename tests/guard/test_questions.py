"""What a guard asks the engine about the state, and what it takes from the answers."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import resource_pb2

from pulumi_snapshots.engine import queries
from pulumi_snapshots.engine.queries import GET_REGISTERED, ask, questions_about_state
from pulumi_snapshots.guard.coverage import GUARD_TYPE
from tests.support.world import DATABASE

STACK = "urn:pulumi:dev::app::"
SERVER = "servers:index:Server"
GUARD = f"{STACK}{GUARD_TYPE}::guard"


class Monitor:
    """An engine with some servers in its state, of which this run has registered a few."""

    def __init__(self, servers: int, registered: int) -> None:
        urns = [f"{STACK}{SERVER}::shop-{number:03}" for number in range(servers)]
        self.registered = set(urns[:registered])
        self.asked_for = list[str]()
        self.listed: dict[str, Any] = {
            urn: {"type": SERVER, "outputs": {"password": "hunter2"}} for urn in urns
        }
        self.listed[GUARD] = {
            "type": GUARD_TYPE,
            "outputs": {"databaseId": DATABASE},
        }

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        found = Struct()
        if request.tok != GET_REGISTERED:
            found.update({"outputs": self.listed})
            return resource_pb2.ResourceInvokeResponse(**{"return": found})
        urn = request.args["urn"]
        self.asked_for.append(urn)
        if urn not in self.registered:
            raise LookupError(urn)
        return resource_pb2.ResourceInvokeResponse(**{"return": found})


@pytest.mark.parametrize("registered", [0, 1, 200])
def test_one_resource_of_an_earlier_run_is_enough_to_know(registered: int) -> None:
    monitor = Monitor(servers=1 + registered, registered=registered)
    before = ask(questions_about_state("organization/app/dev", "guard"), monitor)
    assert before is not None
    assert (len(before.guardable), before.database_id) == (1, DATABASE)
    large = Monitor(servers=500, registered=0)
    before = ask(questions_about_state("organization/app/dev", "guard"), large)
    assert before is not None
    assert len(before.guardable) == 500
    assert len(large.asked_for) == 1, "each question takes a moment of every `up`"


def test_the_outputs_of_other_resources_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = list[Any]()
    monkeypatch.setattr(queries, "state_before", lambda listed, *_: read.append(listed))
    ask(questions_about_state("organization/app/dev", "guard"), Monitor(2, 0))
    (listed,) = read
    assert {urn: outputs for urn, (_, outputs) in listed.items() if outputs} == {
        GUARD: {"databaseId": DATABASE}
    }
