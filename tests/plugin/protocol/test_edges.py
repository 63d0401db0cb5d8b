"""The protocol's edges: empty and unknown values, other settings, other versions, `pulumi do`."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.ledger.attempt import is_resource
from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from squarecloud_emulator import Fault
from tests.archive.scene import at_once, put
from tests.support.plugin_inside import OF_DO, Plugged, inside, plugged, values
from tests.support.servicer import UNKNOWN, CallFailedError, _struct, secret, urn

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
OTHER = "b25c9e6f2dc8516b962fc5d186617232"
SNAPSHOT = "squarecloud:index:Snapshot"
NAME = urn("x")
OF_STACK = "urn:pulumi:dev::project::pulumi:providers:squarecloud::default"


# A URN that names nothing


@pytest.mark.parametrize("name", ["", "x", "urn:pulumi:dev::project"])
@inside
async def test_a_urn_that_names_nothing_is_said_to(name: str) -> None:
    async with plugged() as here:
        assert f"has no resource '{name}'" in await here.refused("Check", urn=name)


@inside
async def test_the_type_alone_is_enough_and_two_without_a_urn_are_not_one() -> None:
    async with plugged(snapshot_seconds=1) as here:
        here.emulator.add_database(DATABASE)
        asked = {"type": SNAPSHOT, "properties": {"databaseId": DATABASE}}
        first = await here.ask("Create", **asked)
        second = await (await next_one(here)).ask("Create", **asked)
        assert first.id != second.id


async def next_one(here: Plugged, provider: str = OF_STACK) -> Plugged:
    """The plugin of the next command on this machine."""
    other = here.again()
    await other.ready(provider=provider)
    return other


# Settings


@pytest.mark.parametrize(
    "given", [{}, {"apiUrl": None, "apiKey": None, "requestsPerMinute": None}]
)
@inside
async def test_null_settings_are_not_given_ones(given: dict[str, Any]) -> None:
    nulls = provider_pb2.CheckRequest()
    for name in given:
        nulls.news.fields[name].null_value = 0
    async with plugged() as here:
        checked = await here.call("CheckConfig", nulls)
        assert not checked.failures
        assert (
            checked.inputs == nulls.news
        )  # no secret null, which the state would keep
        await here.ask("Configure", args=nulls.news)
        assert "o API key is set" in await here.refused(
            "Read", urn=NAME, id=f"{DATABASE}/v1"
        )


@inside
async def test_each_configuration_replaces_the_settings_of_the_one_before() -> None:
    """An engine can ask one plugin for several stacks."""
    async with plugged() as here:
        for wrong in ("no", "never"):
            settings = _struct({"requestsPerMinute": wrong})
            await here.ask("Configure", args=settings)
            told = await here.refused("Read", urn=NAME, id=f"{DATABASE}/v1")
            assert re.search(f"requestsPerMinute.*{wrong}", told)
        await here.ready()
        (failure,) = (await here.ask("Check", urn=NAME)).failures
        assert failure.reason.startswith("databaseId is required")


@inside
async def test_settings_that_a_preview_does_not_know_send_no_request() -> None:
    async with plugged({"apiUrl": UNKNOWN}) as here:
        (failure,) = (await here.ask("Check", urn=NAME)).failures
        assert failure.reason.startswith("databaseId is required")
        found = await here.ask("Invoke", tok="squarecloud:index:getDatabases")
        assert values(getattr(found, "return")) == {"databases": UNKNOWN}
        (listed,) = await here.ask("List", token=SNAPSHOT)
        assert listed.HasField("computed")
        told = await here.refused("Read", urn=NAME, id=f"{DATABASE}/v1")
        assert "settings of this provider are not known in a preview" in told
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
    file: str,
    content: str,
    provider: str,
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: app\n")
    (tmp_path / file).write_text(content)
    (tmp_path / "program").mkdir()
    monkeypatch.chdir(tmp_path / "program")
    async with plugged() as here:
        name = f"urn:pulumi:dev::app::pulumi:providers:squarecloud::{provider}"
        checked = await here.ask("CheckConfig", urn=name, news={"apiKey": KEY})
        assert values(checked.inputs) == {"apiKey": secret(KEY)}
        told = "the API key is configured in plain text; set it again with `pulumi config set --secret`"
        assert here.process.warnings == [told] * times


# Trouble


@pytest.mark.parametrize("debug", ["", "1"])
@inside
async def test_tracebacks_are_for_those_who_ask_for_them(
    debug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUARECLOUD_TRACEBACK", debug)
    async with plugged(snapshot_seconds=600) as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_database(OTHER)
        texts: list[str] = []
        for method, asked in (
            (
                "Create",
                {"urn": NAME, "properties": {"databaseId": DATABASE, "timeout": "1m"}},
            ),
            ("Create", {"urn": urn("y"), "properties": {"databaseId": OTHER}}),
            (
                "Invoke",
                {"tok": "squarecloud:index:getDatabase", "args": {"databaseId": "b"}},
            ),
            ("List", {"token": SNAPSHOT, "query": {"databaseId": "b"}}),
        ):
            with pytest.raises(CallFailedError) as caught:
                await here.ask(method, **asked)
            texts += (
                caught.value.kept.reasons
                if caught.value.kept
                else [caught.value.message]
            )
            here.emulator.add_fault(
                Fault(kind="create", status=404, code="SNAPSHOT_FAILED")
            )
        assert ["Traceback" in each for each in texts] == [bool(debug)] * 4


# A generated SDK of another version


@inside
async def test_what_only_another_version_has_names_the_version_of_this_one() -> None:
    async with plugged() as here:
        checks = [
            await here.ask(
                "Check", urn=NAME, news={"databaseId": DATABASE, "later": 1}
            ),
            await here.ask("CheckConfig", news={"later": "1"}),
        ]
        texts = [failure.reason for each in checks for failure in each.failures]
        texts += [
            await here.refused("Check", urn=urn("x", "squarecloud:index:Later")),
            await here.refused("Invoke", tok="squarecloud:index:later"),
            await here.refused(
                "Invoke", tok="squarecloud:index:getDatabases", args={"later": 1}
            ),
        ]
        assert [
            f". This plugin is version {PLUGIN_VERSION}" in each for each in texts
        ] == [True] * 5


# Lookups


@inside
async def test_a_lookup_is_asked_again_after_a_minute() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_snapshot(DATABASE)
        for wait, asked in ((0, 1), (50, 1), (20, 2)):
            await asyncio.sleep(wait)
            assert (await latest(here))["snapshot"]["databaseId"] == DATABASE
            assert sum(kind.startswith("list") for kind in here.kinds) == asked


async def latest(here: Plugged, **args: Any) -> dict[str, Any]:
    """What `getLatestSnapshot` finds."""
    answer = await here.ask(
        "Invoke",
        tok="squarecloud:index:getLatestSnapshot",
        args={"databaseId": DATABASE, **args},
    )
    return values(getattr(answer, "return"))


@inside
async def test_only_a_url_that_is_asked_for_is_a_secret_of_a_lookup() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        here.emulator.add_snapshot(DATABASE)
        for with_url in (False, True):
            found = (await latest(here, withUrl=with_url))["snapshot"]
            assert [
                name for name, value in found.items() if isinstance(value, dict)
            ] == ["downloadUrl"] * with_url
            assert ("Signature=" in str(found)) is with_url


@inside
async def test_a_latest_snapshot_that_is_not_there_is_an_error() -> None:
    async with plugged() as here:
        here.emulator.add_database(DATABASE)
        nothing = f"Database {DATABASE} has no available snapshot.\nWith optional, the result then has no snapshot, instead of an error."
        with pytest.raises(CallFailedError, match=nothing):
            await latest(here)
        with pytest.raises(
            CallFailedError, match="has no available snapshot that fits"
        ):
            await latest(here, maxAge="1d")
        assert await latest(here, maxAge="1d", optional=True) == {}


# `pulumi do --stateless`

OF_COMMAND = f"urn:pulumi:dev::default::{SNAPSHOT}::Snapshot"


def creating(**inputs: Any) -> dict[str, Any]:
    """What `pulumi do --stateless squarecloud:Snapshot create` asks."""
    return {"urn": OF_COMMAND, "properties": {"databaseId": DATABASE, **inputs}}


@inside
async def test_each_command_without_a_state_takes_a_snapshot() -> None:
    async with plugged(provider=OF_DO, snapshot_seconds=1) as here:
        here.emulator.add_database(DATABASE)
        # A stack's own resource would complete from what an earlier run has taken without a state that shows it.
        ways = (OF_DO, OF_DO, OF_STACK, OF_STACK)
        first, second, third, fourth = [
            (await (await next_one(here, way)).ask("Create", **creating())).id
            for way in ways
        ]
        assert (first != second, third == fourth) == (True, True)
        assert here.kinds.count("create") == 3


@inside
async def test_only_a_command_that_reuses_waits_for_what_an_earlier_one_requested() -> (
    None
):
    async with plugged(provider=OF_DO, snapshot_seconds=400) as here:
        here.emulator.add_database(DATABASE)
        told = await here.refused("Create", **creating(timeout="2m"))
        assert "The wait ended after 2 min." in told
        assert (
            "hint: The same command with `reuseWithin` set to `1h` on this machine keeps waiting "
            "and sends no second request." in told
        )
        assert "pulumi up" not in told
        (entry,) = here.process.computer.attempts()
        assert entry["owner"] == "pulumi do squarecloud:Snapshot create"
        assert not is_resource(entry["owner"])
        again = await next_one(here, OF_DO)
        resumed = await again.ask("Create", **creating(reuseWithin="1h"))
        assert here.kinds.count("create") == 1
        assert [
            f"{DATABASE}/{each.version_id}"
            for each in here.emulator.snapshots(DATABASE)
        ] == [resumed.id]


@inside
async def test_without_a_state_nothing_is_changed_or_deleted() -> None:
    async with plugged(provider=OF_DO) as here:
        here.emulator.add_database(DATABASE)
        found = {
            "urn": OF_COMMAND,
            "id": f"{DATABASE}/{here.emulator.add_snapshot(DATABASE).version_id}",
        }
        read = await here.ask("Read", **found)
        assert read.id == found["id"]
        # A program may give some properties of what it gets by its id.
        again = await here.ask("Read", **found, properties={"triggers": ["v1"]})
        assert values(again.properties) == {
            **values(read.properties),
            "triggers": ["v1"],
        }
        assert values(again.inputs) == {"databaseId": DATABASE, "triggers": ["v1"]}
        told = await here.refused(
            "Update", **found, olds=read.properties, news={"databaseId": "b" * 32}
        )
        assert "Nothing was changed." in told
        told = await here.refused("Delete", **found, properties=read.properties)
        assert "and keeps each for at most 30 days. Nothing was deleted." in told
        told = await here.refused(
            "Delete", type="squarecloud:index:Archive", id="file:///x.zip"
        )
        assert (
            "This Archive cannot be deleted without a stack. Nothing was deleted."
            in told
        )
        assert here.process.computer.attempts() == []


IMPORTED = "urn:pulumi:dev::project::squarecloud:index:Archive::nightly"


@pytest.mark.parametrize(
    ("provider", "given", "holds"),
    [
        (OF_STACK, {}, True),
        (OF_STACK, {"database_id": DATABASE}, False),
        (OF_DO, {}, False),
    ],
    ids=["pulumi import", "the option import", "pulumi do"],
)
@inside
async def test_an_import_alone_holds_the_archive_that_it_has_read(
    tmp_path: Path, provider: str, given: dict[str, str], *, holds: bool
) -> None:
    stored = put(tmp_path, 0, DATABASE)
    manifest = stored.with_name(f"{stored.name}.json")
    as_put = manifest.read_text()
    async with plugged(provider=provider) as here:
        here.process.shared._made[Transfers] = Transfers(in_thread=at_once)
        read = await here.ask("Read", urn=IMPORTED, id=stored.as_uri())
        assert manifest.read_text() == as_put
        news = {**values(read.inputs), **given}
        await here.ask("Check", urn=IMPORTED, olds=read.inputs, news=news)
    names = [each["name"] for each in json.loads(manifest.read_text())["owners"]]
    assert names[1:] == [IMPORTED] * holds


# Reads and resumes


@pytest.mark.parametrize(
    "id_",
    [
        "",
        DATABASE,
        f"{DATABASE}/",
        f" {DATABASE}/v1",
        f"{DATABASE}/v 1",
        f"{DATABASE}/v1 ",
    ],
)
@inside
async def test_an_id_that_no_snapshot_has_is_not_asked_for(id_: str) -> None:
    async with plugged() as here:
        told = await here.refused("Read", urn=NAME, id=id_)
        assert (
            f" is DATABASE_ID/VERSION_ID, or DATABASE_ID/latest for the newest, not {id_!r}.\n"
            in told
        )
        assert here.kinds == []


@inside
async def test_the_creates_own_timeout_is_kept_for_a_resume() -> None:
    async with plugged(snapshot_seconds=6000) as here:
        here.emulator.add_database(DATABASE)
        inputs = {"databaseId": DATABASE, "timeout": "1h"}

        async def waits(method: str, minutes: int, **asked: Any) -> dict[str, Any]:
            with pytest.raises(
                CallFailedError, match=rf"The wait ended after {minutes} min\."
            ) as caught:
                await here.ask(method, urn=NAME, **asked)
            assert caught.value.kept is not None
            return caught.value.kept.outputs

        outputs = await waits("Create", 2, properties=inputs, timeout=120)
        assert outputs["timeout"] == "2m", "a text, as its type is in every language"
        update = {"id": "x", "olds": outputs, "old_inputs": inputs, "news": inputs}
        await waits("Update", 2, **update)
        await waits("Update", 3, **update, timeout=180)
