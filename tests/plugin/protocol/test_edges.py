"""The protocol's edges: empty and unknown values, other settings, other versions, `pulumi do`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.ledger.attempt import is_resource
from pulumi_snapshots.plugin.description.identity import VERSION
from squarecloud_emulator import Fault
from tests.support.plugin_inside import OF_DO, Plugged, bag, inside, plugged, values
from tests.support.servicer import UNKNOWN, CallFailedError, secret, urn

DATABASE, OTHER = "a14b8d5e1cb7405a851eb4c075506121", "b25c9e6f2dc8516b962fc5d186617232"
SNAPSHOT = "squarecloud:index:Snapshot"
NAME = urn("x")
OF_STACK = "urn:pulumi:dev::project::pulumi:providers:squarecloud::default"


# A URN that names nothing


@pytest.mark.parametrize("name", ["", "x", "urn:pulumi:dev::project"])
@inside
async def test_a_urn_that_names_nothing_is_said_to(name: str) -> None:
    async with plugged() as here:
        with pytest.raises(CallFailedError, match=f"has no resource '{name}'"):
            await here.call("Check", provider_pb2.CheckRequest(urn=name))


@inside
async def test_the_type_alone_is_enough_and_two_without_a_urn_are_not_one() -> None:
    async with plugged(snapshot_seconds=1) as here:
        here.emulator.add_database(DATABASE)
        request = provider_pb2.CreateRequest(type=SNAPSHOT, properties=bag({"databaseId": DATABASE}))
        first = await here.call("Create", request)
        second = await (await next_one(here)).call("Create", request)
        assert first.id != second.id


async def next_one(here: Plugged, provider: str = OF_STACK) -> Plugged:
    """The plugin of the next command on this machine."""
    other = here.again()
    await other.ready(provider=provider)
    return other


# Settings


@pytest.mark.parametrize("given", [{}, {"apiUrl": None, "apiKey": None, "requestsPerMinute": None}])
@inside
async def test_null_settings_are_not_given_ones(given: dict[str, Any]) -> None:
    nulls = provider_pb2.CheckRequest()
    for name in given:
        nulls.news.fields[name].null_value = 0
    async with plugged() as here:
        checked = await here.call("CheckConfig", nulls)
        assert not checked.failures
        assert checked.inputs == nulls.news  # no secret null, which the state would keep
        await here.call("Configure", provider_pb2.ConfigureRequest(args=nulls.news))
        with pytest.raises(CallFailedError, match="o API key is set"):
            await here.call("Read", provider_pb2.ReadRequest(urn=NAME, id=f"{DATABASE}/v1"))


@inside
async def test_settings_that_a_preview_does_not_know_send_no_request() -> None:
    async with plugged({"apiUrl": UNKNOWN}) as here:
        (failure,) = (await here.call("Check", provider_pb2.CheckRequest(urn=NAME, news=bag({})))).failures
        assert failure.reason.startswith("databaseId is required")
        found = await here.call("Invoke", provider_pb2.InvokeRequest(tok="squarecloud:index:getDatabases"))
        assert values(getattr(found, "return")) == {"databases": UNKNOWN}
        (listed,) = await here.call("List", provider_pb2.ListRequest(token=SNAPSHOT))
        assert listed.HasField("computed")
        with pytest.raises(CallFailedError, match="settings of this provider are not known in a preview"):
            await here.call("Read", provider_pb2.ReadRequest(urn=NAME, id=f"{DATABASE}/v1"))
        assert here.kinds == []


KEY = "k3y" * 22


@pytest.mark.parametrize(
    ("file", "content", "provider", "times"),
    [
        ("Pulumi.dev.yaml", f"config:\n  squarecloud:apiKey: {KEY}\n", "default_0_1_0", 1),
        ("Pulumi.yaml", f"name: app\nconfig:\n  squarecloud:apiKey: '{KEY}'\n", "default", 1),
        ("Pulumi.dev.yaml", f"config:\n  app:secondKey: {KEY}\n", "second", 1),
        ("Pulumi.dev.yaml", "config:\n  squarecloud:apiKey:\n    secure: v1:abc\n", "default", 0),
        ("Pulumi.dev.yaml", f"config:\n  squarecloud:apiKey: {KEY}more\n", "default", 0),
        ("Pulumi.prod.yaml", f"config:\n  squarecloud:apiKey: {KEY}\n", "default", 0),
    ],
)  # fmt: skip
@inside
async def test_a_key_in_plain_text_is_warned_of(  # noqa: PLR0913, PLR0917  the columns of the table, and where it is
    file: str, content: str, provider: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: app\n")
    (tmp_path / file).write_text(content)
    (tmp_path / "program").mkdir()
    monkeypatch.chdir(tmp_path / "program")
    async with plugged() as here:
        request = provider_pb2.CheckRequest(
            urn=f"urn:pulumi:dev::app::pulumi:providers:squarecloud::{provider}", news=bag({"apiKey": KEY})
        )
        checked = await here.call("CheckConfig", request)
        assert values(checked.inputs) == {"apiKey": secret(KEY)}
        told = "the API key is configured in plain text; set it again with `pulumi config set --secret`"
        assert here.process.warnings == [told] * times


# Trouble


@pytest.mark.parametrize("debug", ["", "1"])
@inside
async def test_tracebacks_are_for_those_who_ask_for_them(debug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUARECLOUD_DEBUG", debug)
    async with plugged(snapshot_seconds=600) as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_database(OTHER)
        failed = []
        for method, request in (
            (
                "Create",
                provider_pb2.CreateRequest(urn=NAME, properties=bag({"databaseId": DATABASE, "timeout": "1m"})),
            ),
            ("Create", provider_pb2.CreateRequest(urn=urn("y"), properties=bag({"databaseId": OTHER}))),
            (
                "Invoke",
                provider_pb2.InvokeRequest(tok="squarecloud:index:getDatabase", args=bag({"databaseId": "b"})),
            ),
            ("List", provider_pb2.ListRequest(token=SNAPSHOT, query=bag({"databaseId": "b"}))),
        ):
            with pytest.raises(CallFailedError) as caught:
                await here.call(method, request)
            failed.append(caught.value)
            here.emulator.add_fault(Fault(kind="create", status=404, code="SNAPSHOT_FAILED"))
        assert failed[0].kept is not None
        texts = [*failed[0].kept.reasons, *(each.message for each in failed[1:])]
        assert ["Traceback" in each for each in texts] == [bool(debug)] * 4


# A generated SDK of another version


@inside
async def test_what_only_another_version_has_names_the_version_of_this_one() -> None:
    async with plugged() as here:
        texts = []
        for method, request in (
            ("Check", provider_pb2.CheckRequest(urn=NAME, news=bag({"databaseId": DATABASE, "later": 1}))),
            ("CheckConfig", provider_pb2.CheckRequest(news=bag({"later": "1"}))),
        ):
            (failure,) = (await here.call(method, request)).failures
            texts.append(failure.reason)
        for method, request in (
            ("Check", provider_pb2.CheckRequest(urn=urn("x", "squarecloud:index:Later"))),
            ("Invoke", provider_pb2.InvokeRequest(tok="squarecloud:index:later")),
            ("Invoke", provider_pb2.InvokeRequest(tok="squarecloud:index:getDatabases", args=bag({"later": 1}))),
        ):
            with pytest.raises(CallFailedError) as caught:
                await here.call(method, request)
            texts.append(caught.value.message)
        assert [f". This plugin is version {VERSION}" in each for each in texts] == [True] * 5


# `pulumi do --stateless`


async def refused(here: Plugged, method: str, request: Any) -> str:
    with pytest.raises(CallFailedError) as caught:
        await here.call(method, request)
    assert caught.value.kept is None
    return caught.value.message


def creating(**inputs: Any) -> Any:
    """The request of `pulumi do --stateless squarecloud:Snapshot create`."""
    name = f"urn:pulumi:dev::default::{SNAPSHOT}::Snapshot"
    return provider_pb2.CreateRequest(urn=name, properties=bag({"databaseId": DATABASE, **inputs}))


# Lookups


@inside
async def test_a_lookup_is_asked_again_after_a_minute() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_snapshot(DATABASE)
        args = bag({"databaseId": DATABASE})
        for wait, asked in ((0, 1), (50, 1), (20, 2)):
            await asyncio.sleep(wait)
            request = provider_pb2.InvokeRequest(tok="squarecloud:index:getLatestSnapshot", args=args)
            answer = await here.call("Invoke", request)
            assert values(getattr(answer, "return"))["snapshot"]["databaseId"] == DATABASE
            assert sum(kind.startswith("list") for kind in here.kinds) == asked


@inside
async def test_only_a_url_that_is_asked_for_is_a_secret_of_a_lookup() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_snapshot(DATABASE)
        for with_url in (False, True):
            args = bag({"databaseId": DATABASE, "withUrl": with_url})
            request = provider_pb2.InvokeRequest(tok="squarecloud:index:getLatestSnapshot", args=args)
            found = values(getattr(await here.call("Invoke", request), "return"))["snapshot"]
            assert [name for name, value in found.items() if isinstance(value, dict)] == ["downloadUrl"] * with_url
            assert ("Signature=" in str(found)) is with_url


@inside
async def test_a_latest_snapshot_that_is_not_there_is_an_error() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        latest = provider_pb2.InvokeRequest(
            tok="squarecloud:index:getLatestSnapshot", args=bag({"databaseId": DATABASE})
        )
        with pytest.raises(CallFailedError) as caught:
            await here.call("Invoke", latest)
        assert caught.value.message.startswith(
            f"Database {DATABASE} has no available snapshot.\nWith optional, the result lacks it instead."
        )
        latest.args.update({"maxAge": "1d"})
        with pytest.raises(CallFailedError, match="has no available snapshot that fits"):
            await here.call("Invoke", latest)
        latest.args.update({"optional": True})
        assert values(getattr(await here.call("Invoke", latest), "return")) == {}


@inside
async def test_each_command_without_a_state_takes_a_snapshot() -> None:
    async with plugged(provider=OF_DO, snapshot_seconds=1) as here:
        here.emulator.add_database(DATABASE)
        first = await here.call("Create", creating())
        second = await (await next_one(here, OF_DO)).call("Create", creating())
        assert first.id != second.id
        # A stack's own resource would complete from what an earlier run has taken without a state that shows it.
        third = await (await next_one(here)).call("Create", creating())
        fourth = await (await next_one(here)).call("Create", creating())
        assert third.id == fourth.id
        assert here.kinds.count("create") == 3


@inside
async def test_the_same_command_resumes_what_was_not_waited_for() -> None:
    async with plugged(provider=OF_DO, snapshot_seconds=400) as here:
        here.emulator.add_database(DATABASE)
        told = await refused(here, "Create", creating(timeout="2m"))
        assert "The wait ended after 2 min." in told
        assert "hint: The same command on this machine keeps waiting and sends no second request." in told
        assert "pulumi up" not in told
        (entry,) = here.process.computer.attempts()
        assert entry["owner"] == "pulumi do squarecloud:Snapshot create"
        assert not is_resource(entry["owner"])
        assert not entry.get("proved")
        resumed = await (await next_one(here, OF_DO)).call("Create", creating())
        assert here.kinds.count("create") == 1
        assert [f"{DATABASE}/{each.version_id}" for each in here.emulator.snapshots(DATABASE)] == [resumed.id]


@inside
async def test_without_a_state_nothing_is_changed_or_deleted() -> None:
    async with plugged(provider=OF_DO) as here:
        here.emulator.add_database(DATABASE)
        stored = here.emulator.add_snapshot(DATABASE)
        id_ = f"{DATABASE}/{stored.version_id}"
        request = provider_pb2.ReadRequest(urn=creating().urn, id=id_)
        read = await here.call("Read", request)
        assert read.id == id_
        # A program may give some properties of what it gets by its id.
        request.properties.CopyFrom(bag({"triggers": ["v1"]}))
        again = await here.call("Read", request)
        assert values(again.properties) == {**values(read.properties), "triggers": ["v1"]}
        assert values(again.inputs) == {"databaseId": DATABASE, "triggers": ["v1"]}
        other = bag({"databaseId": "b" * 32})
        changing = provider_pb2.UpdateRequest(urn=request.urn, id=id_, olds=read.properties, news=other)
        assert "Nothing was changed." in await refused(here, "Update", changing)
        deleting = provider_pb2.DeleteRequest(urn=request.urn, id=id_, properties=read.properties)
        assert "and keeps each for 30 days. Nothing was deleted." in await refused(here, "Delete", deleting)
        of_archive = provider_pb2.DeleteRequest(type="squarecloud:index:Archive", id="file:///x.zip")
        told = await refused(here, "Delete", of_archive)
        assert "This Archive cannot be deleted without a stack. Nothing was deleted." in told
        assert here.process.computer.attempts() == []


# Reads and resumes


@pytest.mark.parametrize("id_", ["", DATABASE, f"{DATABASE}/", f" {DATABASE}/v1", f"{DATABASE}/v 1", f"{DATABASE}/v1 "])
@inside
async def test_an_id_that_no_snapshot_has_is_not_asked_for(id_: str) -> None:
    async with plugged() as here:
        told = await refused(here, "Read", provider_pb2.ReadRequest(urn=NAME, id=id_))
        assert told.startswith(f"The id of a snapshot is DATABASE_ID/VERSION_ID, not {id_!r}.\n")
        assert here.kinds == []


@inside
async def test_the_creates_own_timeout_is_kept_for_a_resume() -> None:
    async with plugged(snapshot_seconds=6000) as here:
        here.emulator.add_database(DATABASE)
        inputs = bag({"databaseId": DATABASE, "timeout": "1h"})

        async def waits(method: str, request: Any, minutes: int) -> dict[str, Any]:
            with pytest.raises(CallFailedError, match=rf"The wait ended after {minutes} min\.") as caught:
                await here.call(method, request)
            assert caught.value.kept is not None
            return caught.value.kept.outputs

        outputs = await waits("Create", provider_pb2.CreateRequest(urn=NAME, properties=inputs, timeout=120), 2)
        assert outputs["timeout"] == "2m", "a text, as its type is in every language"
        update = provider_pb2.UpdateRequest(urn=NAME, id="x", olds=bag(outputs), old_inputs=inputs, news=inputs)
        await waits("Update", update, 2)
        update.timeout = 180
        await waits("Update", update, 3)
