"""States that an earlier version left: the same program previews without a change, and an update keeps every output."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.dynamic.provider import SnapshotProvider
from tests.support.earlier import VERSIONS, read
from tests.support.plugin_servicer import ADAPTERS
from tests.support.servicer import NO_KEY, Servicer, failure_of

STORED = [
    (version, way, one)
    for version in VERSIONS
    for way in ADAPTERS
    for one in read(version, f"{way}.json")
]
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Marks a secret."""


def each_stored(*, pending: bool | None) -> pytest.MarkDecorator:
    """Each stored resource; only those that are pending, or that are not, where that matters."""
    chosen = [
        each for each in STORED if pending in {None, "attempt" in each[2]["outputs"]}
    ]
    names = [
        f"{version}-{way}-{one['urn'].rpartition('::')[2]}"
        for version, way, one in chosen
    ]
    return pytest.mark.parametrize(
        ("way", "stored"), [each[1:] for each in chosen], ids=names
    )


@pytest.fixture(scope="module")
def idle(forks: dict[str, str]) -> Iterator[dict[str, Servicer]]:
    """The provider by each way, without a key or a service: nothing can be asked for."""
    with (
        ADAPTERS["dynamic"](SnapshotProvider(), env=NO_KEY, forks=forks) as dynamic,
        ADAPTERS["plugin"](SnapshotProvider(), env=NO_KEY, forks=forks) as plugin,
    ):
        yield {"dynamic": dynamic, "plugin": plugin}


def handed(way: str, values: dict[str, Any]) -> Struct:
    """Properties as the engine hands them over; a dynamic provider gets its secrets in plain."""
    plain = {
        name: value["value"]
        if isinstance(value, dict) and SIGNATURE in value
        else value
        for name, value in values.items()
    }
    made: Struct = ParseDict(plain if way == "dynamic" else values, Struct())
    return made


def young(outputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of just now, so that neither `rotate_after` nor `every` asks for another one."""
    now = datetime.now(UTC).isoformat()
    aging = {"created_at", "createdAt", "drilled_at", "drilledAt"}
    return {name: now if name in aging else value for name, value in outputs.items()}


def update_of(way: str, stored: dict[str, Any]) -> Any:
    inputs = handed(way, stored["inputs"])
    outputs = handed(way, stored["outputs"])
    return provider_pb2.UpdateRequest(
        urn=stored["urn"], id=stored["id"], olds=outputs, old_inputs=inputs, news=inputs
    )


@each_stored(pending=None)
def test_a_stored_state_previews_without_a_change(
    idle: dict[str, Servicer], way: str, stored: dict[str, Any]
) -> None:
    urn = stored["urn"]
    id_ = stored["id"]
    inputs = handed(way, stored["inputs"])
    checked = idle[way]._stub.Check(
        provider_pb2.CheckRequest(urn=urn, olds=inputs, news=inputs)
    )
    assert not checked.failures
    assert checked.inputs == inputs
    outputs = handed(way, young(stored["outputs"]))
    compared = idle[way]._stub.Diff(
        provider_pb2.DiffRequest(
            urn=urn, id=id_, olds=outputs, old_inputs=inputs, news=checked.inputs
        )
    )
    assert not compared.replaces
    # What is pending is resumed, and an archive of before owners had ids is entered as an owner:
    # only an update does either.
    is_pending = "attempt" in stored["outputs"]
    has_no_owner = "sha256" in stored["outputs"] and "owner" not in stored["outputs"]
    answer = provider_pb2.DiffResponse
    has_update = is_pending or has_no_owner
    assert compared.changes == (answer.DIFF_SOME if has_update else answer.DIFF_NONE)


@each_stored(pending=False)
def test_an_update_keeps_every_stored_output(
    idle: dict[str, Servicer], way: str, stored: dict[str, Any]
) -> None:
    answer = idle[way]._stub.Update(update_of(way, stored))
    assert MessageToDict(answer.properties) == stored["outputs"]


@each_stored(pending=True)
def test_a_stored_pending_resource_is_kept_as_it_is(
    idle: dict[str, Servicer], way: str, stored: dict[str, Any]
) -> None:
    """Without a key nothing can be resumed, and the state keeps what it has."""
    with pytest.raises(grpc.RpcError) as caught:
        idle[way]._stub.Update(update_of(way, stored))
    failed = failure_of(caught.value)
    assert failed.kept is not None
    assert "o API key is set" in failed.kept.reasons[0]
    assert failed.kept.id == stored["id"]
    kept = {"__provider": failed.kept.provider, **failed.kept.outputs}
    assert kept == {"__provider": "", **stored["outputs"]}
