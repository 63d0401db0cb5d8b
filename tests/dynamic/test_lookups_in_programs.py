"""The lookups as a program calls them: arguments, configuration, errors, and what is a secret."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import CONFIG, set_all_config

import pulumi_snapshots as ours
from pulumi_snapshots import LookupFailed, program
from pulumi_snapshots.dynamic import lookups, run
from pulumi_snapshots.first_use import FirstUse
from pulumi_snapshots.listing import listings as looks
from tests.support.near_emulator import near_emulator
from tools.sandbox import Service

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
VERSION = "v" * 24


@pytest.fixture(autouse=True)
def nothing_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    for name in ("API_KEY", "API_URL", "SNAPSHOTS_URL", "DEBUG"):
        monkeypatch.delenv(f"SQUARECLOUD_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    # a process of its own
    monkeypatch.setattr(run, "shared_run", FirstUse(run.Run))
    monkeypatch.setattr(program, "_warned", set())
    before = CONFIG.get()
    set_all_config({}, [])
    yield
    CONFIG.set(before)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Service]:
    with near_emulator(
        "--database", DATABASE, "--requests-per-minute", "10000"
    ) as emulator:
        emulator.control("snapshots", {"database_id": DATABASE, "version_id": VERSION})
        yield emulator


@pytest.fixture
def service(emulator: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    for name, text in {
        **emulator.environment,
        "SQUARECLOUD_REQUESTS_PER_MINUTE": "10000",
    }.items():
        monkeypatch.setenv(name, text)
    emulator.control("journal", method="DELETE")
    emulator.control("faults", method="DELETE")
    return emulator


def resolved(make: Callable[[], pulumi.Output[Any]]) -> tuple[Any, bool]:
    """An output's value, and whether it is a secret."""

    async def wait() -> tuple[Any, bool]:
        output = make()
        return await output.future(), await output.is_secret()

    return asyncio.run(wait())


def outcome_of(name: str, *arguments: Any, **named: Any) -> str:
    """The text with which a lookup ends a program."""
    function = getattr(ours, name)

    def call() -> Any:
        return function(*arguments, **named)

    with pytest.raises(pulumi.RunError) as failure:
        resolved(call) if name.endswith("_output") else call()
    assert isinstance(failure.value, LookupFailed)
    assert failure.value.function == name
    return str(failure.value)


# Arguments ---------------------------------------------------------------------------------------------------------------

BAD = [
    ({"database_id": "../x"}, "database_id must be a bare id"),
    ({"origin": ["manual"]}, "origin must be 'manual' or 'automatic', not ['manual']"),
    (
        {"AGE": "soon"},
        "AGE must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d, not 'soon'",
    ),
    (
        {"AGE": "31d"},
        "AGE must be at most 30d (the service keeps no snapshot longer), not '31d'",
    ),
]
AGES = {
    "get_snapshots": ("newer_than", "older_than"),
    "get_latest_snapshot": ("max_age",),
}


@pytest.mark.parametrize("twin", ["", "_output"])
@pytest.mark.parametrize(
    ("name", "age"), [(name, age) for name, ages in AGES.items() for age in ages]
)
@pytest.mark.parametrize(("arguments", "words"), BAD, ids=str)
def test_bad_arguments_are_named_before_anything_is_asked(
    name: str, age: str, arguments: dict[str, Any], words: str, twin: str
) -> None:
    named = {key.replace("AGE", age): value for key, value in arguments.items()}
    needed = {"database_id": DATABASE} if name == "get_latest_snapshot" else {}
    text = outcome_of(name + twin, **{**needed, **named})
    assert text.startswith(f"{name}{twin}: {words.replace('AGE', age)}")
    assert text.endswith("\nmore: squarecloud-snapshots explain lookup-failed")
    assert text.count("\n") == 1


def test_an_output_belongs_to_the_twin() -> None:
    async def call() -> None:
        with pytest.raises(
            LookupFailed,
            match=r"get_database: database_id is an output.*Call get_database_output instead",
        ):
            ours.get_database(pulumi.Output.from_input(DATABASE))  # type: ignore[arg-type]  # the mistake itself

    asyncio.run(call())


def test_an_output_without_a_value_does_not_ask_for_everything() -> None:
    async def call() -> None:
        twin = ours.get_snapshots_output(database_id=pulumi.Output.from_input(None))  # type: ignore[arg-type]  # as an unset one
        with pytest.raises(
            LookupFailed,
            match="get_snapshots_output: database_id is an output whose value is None",
        ):
            await twin.future()

    asyncio.run(call())


def test_an_unknown_argument_sends_nothing_in_preview(service: Service) -> None:
    async def call() -> None:
        unknown: pulumi.Output[str] = pulumi.Output(
            set(),
            _later(None),
            _later(False),  # noqa: FBT003  as the SDK has it
            _later(False),  # noqa: FBT003
        )
        for twin in (
            ours.get_latest_snapshot_output(unknown),
            ours.get_database_output(unknown),
        ):
            assert not await twin.is_known()
            assert not await twin.is_secret()
        assert await ours.get_latest_snapshot_output(unknown, with_url=True).is_secret()

    asyncio.run(call())
    assert service.control("journal") == []


async def _later(value: Any) -> Any:
    return value


# Configuration -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["get_snapshots", "get_databases", "get_databases_output", "get_snapshots_output"],
)
def test_without_a_key_both_places_for_it_are_named(name: str) -> None:
    assert outcome_of(name) == (
        f"{name}: No API key is set.\nNothing was sent.\nhint: Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY.\n"
        "more: squarecloud-snapshots explain missing-key"
    )


def test_the_stacks_config_wins_over_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "another")
    monkeypatch.setenv("SQUARECLOUD_API_URL", "http://127.0.0.1:9/v2")
    set_all_config(
        {"squarecloud:apiKey": service.key, "squarecloud:apiUrl": service.api},
        ["squarecloud:apiKey"],
    )
    assert [one.version_id for one in ours.get_snapshots(DATABASE)] == [VERSION]
    set_all_config(
        {"squarecloud:apiKey": service.key, "squarecloud:pollEvery": "often"}
    )
    assert outcome_of("get_databases").startswith(
        "get_databases: squarecloud:pollEvery must be a duration"
    )


def test_a_key_in_plain_text_is_warned_about(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    # An empty one is none: the environment's is used.
    set_all_config({"squarecloud:apiKey": ""})
    ours.get_databases()
    assert capsys.readouterr().err == ""
    set_all_config({"squarecloud:apiKey": service.key}, ["squarecloud:apiKey"])
    ours.get_databases()
    assert capsys.readouterr().err == ""
    set_all_config({"squarecloud:apiKey": service.key}, [])
    ours.get_databases()
    ours.get_databases()
    assert capsys.readouterr().err.count("the API key is configured in plain text") == 1
    assert service.control("journal")


# Answers -----------------------------------------------------------------------------------------------------------------


def test_every_lookup_answers_and_asks_once(service: Service) -> None:
    for _ in range(2):
        (one,) = ours.get_snapshots()
        assert ours.get_snapshots(DATABASE, "manual", "1h", None) == [one]
        assert ours.get_snapshots(older_than=3600) == []
        assert (
            ours.get_latest_snapshot(DATABASE)
            == ours.get_latest_snapshot(DATABASE, max_age="1h")
            == one
        )
        assert ours.get_latest_snapshot(DATABASE, origin="automatic") is None
        (database,) = ours.get_databases()
        assert (database.id, database.type, database.running) == (
            DATABASE,
            "postgres",
            True,
        )
        assert ours.get_database(DATABASE) == database
    kinds = [entry["kind"] for entry in service.control("journal")]
    assert sorted(kinds) == ["list account", "me", "status"]


def test_a_program_asks_once_and_the_next_one_asks_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as if a minute had passed each time
    monkeypatch.setattr(looks, "READS_SHARE", 0.0)
    for number in (1, 2):
        program = pulumi.Resource.__new__(pulumi.Resource)
        monkeypatch.setattr(lookups, "get_root_resource", lambda: program)  # noqa: B023  called within this turn
        for _ in range(3):
            ours.get_latest_snapshot(DATABASE)
            ours.get_database(DATABASE)
        kinds = [entry["kind"] for entry in service.control("journal")]
        assert sorted(kinds) == sorted(["database", "list", "status"] * number)
    # A twin may depend on what happened since.
    resolved(lambda: ours.get_latest_snapshot_output(DATABASE))
    assert [entry["kind"] for entry in service.control("journal")].count("list") == 3


def test_what_holds_a_url_is_a_secret_and_what_does_not_is_none(
    service: Service,
) -> None:
    def database_id() -> pulumi.Output[str]:
        return pulumi.Output.from_input(DATABASE)

    (found,), secret = resolved(
        lambda: ours.get_snapshots_output(
            database_id(), newer_than=pulumi.Output.from_input("1h")
        )
    )
    assert (found.version_id, found.download_url, secret) == (VERSION, None, False)
    asked = {"with_url": True}
    (whole,), secret = resolved(
        lambda: ours.get_snapshots_output(
            database_id(), with_url=pulumi.Output.from_input(asked)["with_url"]
        )
    )
    assert (whole.version_id, secret) == (VERSION, True)
    url = whole.download_url
    latest = ours.get_latest_snapshot_output
    assert ours.get_latest_snapshot(DATABASE, with_url=True) == whole
    assert url is not None
    calls: list[tuple[Callable[[], pulumi.Output[Any]], Any]] = [
        (lambda: latest(database_id()), (found, False)),
        (lambda: latest(database_id(), with_url=True), (whole, True)),
        (lambda: latest(database_id(), with_url=True).download_url, (url, True)),
        (
            lambda: latest(database_id(), origin="automatic", with_url=True),
            (None, True),
        ),
        (lambda: ours.get_download_url_output(database_id(), VERSION), (url, True)),
        (lambda: ours.get_database_output(database_id()).type, ("postgres", False)),
        (lambda: ours.get_databases_output()[0].id, (DATABASE, False)),
        (
            lambda: ours.get_database_output(pulumi.Output.secret(DATABASE)).id,
            (DATABASE, True),
        ),
    ]
    assert [resolved(call) for call, _ in calls] == [known for _, known in calls]
    assert service.control("journal")


def test_twins_do_not_hold_up_the_programs_event_loop(service: Service) -> None:
    service.control("faults", {"kind": "list", "delay": 1.0})

    async def call() -> int:
        twin = asyncio.ensure_future(ours.get_latest_snapshot_output(DATABASE).future())
        ticks = 0
        while not twin.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert (await twin).version_id == VERSION  # type: ignore[union-attr]  # it is there
        return ticks

    assert asyncio.run(call()) > 20


def test_a_failure_names_function_and_code_and_can_be_caught(service: Service) -> None:
    for name in (
        "get_database",
        "get_latest_snapshot",
        "get_database_output",
        "get_latest_snapshot_output",
    ):
        text = outcome_of(name, "b" * 32)
        assert text.startswith(
            f"{name}: This account has no such database.\n[GET /databases/{'b' * 32}"
        )
        assert "404 DATABASE_NOT_FOUND]\nhint: Check database_id" in text
    assert outcome_of("get_download_url", DATABASE, "other") == (
        f"get_download_url: Database {DATABASE} has no snapshot other to download."
    )
    with pytest.raises(LookupFailed) as failure:
        ours.get_database("b" * 32)
    assert (failure.value.code, failure.value.status) == ("DATABASE_NOT_FOUND", 404)
    assert failure.value.__cause__ is None
    assert service.control("journal")


def test_a_refused_key_is_never_shown_or_used_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "w" * 64)
    unsent = ": not sent, since another request was answered with 401"
    for function, words in (
        ("get_databases", ": 401 ACCESS_DENIED]"),
        ("get_snapshots", unsent),
    ):
        text = outcome_of(function)
        assert words in text
        assert "The API key is unknown, revoked or expired" in text
        assert "w" * 64 not in text
    assert len(service.control("journal")) == 1
