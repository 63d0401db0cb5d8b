"""The engine's calls that send nothing and need no key, for every kind of resource and by each way to the engine."""

import dataclasses
from typing import Any

import pulumi
import pyrage
import pytest
from pulumi.runtime.proto import provider_pb2

import pulumi_snapshots
from pulumi_snapshots.engine import SIGNATURE
from pulumi_snapshots.properties.catalogue import in_camel
from tests.dynamic.conftest import DATABASE, NAMES, OTHER, PROVIDERS, Serve
from tests.support.examples import EXAMPLES
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import UNKNOWN, Servicer, failure, kept, urn

KIND = "Snapshot"
ASSET = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x", "hash": "y"}
ASSETS = {
    SIGNATURE: "0def7320c3a5731c473e5ecbe6d01bc7",
    "assets": {"a": ASSET},
    "hash": "z",
}
REFERENCE = {
    SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e",
    "urn": urn("other"),
    "id": "other/1",
}
URL = f"https://snapshots.test/databases/account/{DATABASE}.zip?Expires=1757683751&Signature=never-shown"
GOOD = {kind: each.good for kind, each in EXAMPLES.items()}
"""Inputs of each kind."""
STATE = {kind: each.state for kind, each in EXAMPLES.items()}
"""What a state has of each kind."""
CHECK = GOOD["Drill"]["checks"][0]
FAILED = {
    **STATE["Drill"],
    "passed": False,
    "results": [{**STATE["Drill"]["results"][0], "passed": False, "found": "0"}],
}
PENDING = {kind: each.pending for kind, each in EXAMPLES.items() if each.pending}
ID = {kind: each.id for kind, each in EXAMPLES.items()}
PROVISIONAL = EXAMPLES["Snapshot"].pending_id


# Declarations

SNAPSHOT: Any = dataclasses.make_dataclass(
    "Snapshot", ["database_id", "version_id", "download_url", "size", "created_at"]
)(DATABASE, "v1", None, 5, None)
ADVICE = "Give snapshot=SNAPSHOT, a Snapshot of this program or one that a lookup has found, or instead of it database_id=, version_id="
DECLARED: dict[str, dict[str, Any]] = {
    "Archive": {"destination": "/backups/"},
    "Restore": {"overwrite": True},
    "Drill": {"scratch_database_id": OTHER, "connection": "", "checks": []},
}


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (
            "Archive",
            {},
            "nothing to archive is given, or a lookup has found no snapshot",
        ),
        (
            "Archive",
            {"snapshot": SNAPSHOT, "download_url": "https://x/y"},
            "snapshot and download_url are given",
        ),
        ("Archive", {"snapshot": "before-release"}, "snapshot is a str"),
        (
            "Restore",
            {},
            "nothing to restore is given, or a lookup has found no snapshot",
        ),
        (
            "Restore",
            {"snapshot": 7, "version_id": "v1"},
            "snapshot and version_id are given",
        ),
        ("Drill", {}, "nothing to drill is given, or a lookup has found no snapshot"),
    ],
    ids=str,
)
def test_a_program_learns_what_to_give(
    kind: str, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        getattr(pulumi_snapshots, kind)("x", **DECLARED[kind], **given)
    assert str(caught.value).startswith(f"{kind} 'x': {told}")
    assert kind == "Drill" or ADVICE in str(caught.value)


# Checks

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "Snapshot",
        {"database_id": None},
        "database_id",
        "is required: the id of the database to take a snapshot of",
    ),
    (
        "Snapshot",
        {"triggers": ["1", {"a": [ASSET]}]},
        "triggers",
        "must not hold an asset or archive: give a digest",
    ),
    (
        "Snapshot",
        {"triggers": [ASSETS]},
        "triggers",
        "must not hold an asset or archive",
    ),
    (
        "Snapshot",
        {"timeout": "never-shown"},
        "timeout",
        "must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d",
    ),
    (
        "Snapshot",
        {"rotate_after": "1h", "reuse_within": "1h"},
        "rotate_after",
        "must be longer than reuse_within",
    ),
    ("Archive", {"database_id": None, "version_id": None}, "snapshot", "is required"),
    (
        "Archive",
        {"download_url": f"{URL}&versionId=v2"},
        "download_url",
        "is pinned to version",
    ),
    (
        "Archive",
        {"destination": None},
        "destination",
        "is required: a path, or a URI of file://, s3://, gs:// or",
    ),
    (
        "Snapshot",
        {"timeout": -5},
        "timeout",
        "must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d, not -5",
    ),
    (
        "Restore",
        {"overwrite": None},
        "overwrite",
        "must be true: a restore overwrites everything that the database",
    ),
    (
        "Restore",
        {"version_id": "latest"},
        "version_id",
        "must be a snapshot's version id, as ",
    ),
    ("Drill", {"database_id": ["a"]}, "database_id", "must be a string, not list"),
    (
        "Drill",
        {"overwrite_scratch": None},
        "overwrite_scratch",
        "must be true: a drill overwrites everything",
    ),
    (
        "Drill",
        {"checks": [{"query": "x", "at_least": "1"}]},
        "checks",
        "has check 1, whose at_least must be a number",
    ),
    (
        "Drill",
        {"connection": "postgresql://u:never-shown@h:x/d"},
        "connection",
        "%-escapes for what is special in a",
    ),
]
"""One of each kind; the tests of each resource's inputs have all."""


@pytest.mark.parametrize(("kind", "changes", "property_", "reason"), WRONG, ids=str)
def test_a_wrong_input_fails_on_its_property_in_the_preview(
    idle: Servicer, kind: str, changes: dict[str, Any], property_: str, reason: str
) -> None:
    ((name, told),) = (
        idle.of(PROVIDERS[kind]).check(NAMES[kind], {**GOOD[kind], **changes}).failures
    )
    assert (name, reason in told) == (property_, True), told
    assert told.endswith(". Nothing was sent.")
    assert "never-shown" not in told


@pytest.mark.parametrize(
    ("kind", "name", "secret"),
    [
        ("Archive", "recipients", [str(pyrage.x25519.Identity.generate())]),
        ("Archive", "destination", "s3://AKIAEXAMPLE:wJalrXUtnFEMI@bucket/x"),
        (
            "Snapshot",
            "database_id",
            "AGE-SECRET-" + "KEY-1QQPZRY9X8GF2TVDW0S3JN54 E6MUA7L",
        ),
        ("Snapshot", "timeout", "9xQ2mLk8" + "VtR4bZs7NcYw3HfJ"),
    ],
    ids=["recipients", "destination", "database_id", "timeout"],
)
def test_a_secret_in_the_wrong_place_is_not_printed(
    idle: Servicer, kind: str, name: str, secret: Any
) -> None:
    """The engine prints the value of the property that a failure names."""
    news = idle.of(PROVIDERS[kind])._bag({**GOOD[kind], name: secret})
    failures = idle._call(
        "Check", provider_pb2.CheckRequest(urn=NAMES[kind], news=news)
    ).failures
    (failure,) = failures
    assert failure.property == ""
    assert failure.reason.startswith((f"{name} ", f"{in_camel(name)} "))
    assert str(secret).strip("[]'")[:30] not in failure.reason
    assert str(secret).strip("[]'")[-5:] not in failure.reason


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Snapshot", {"database_id": UNKNOWN}),
        ("Snapshot", {"triggers": [REFERENCE, {"a": ["b", None, True, 1.5]}]}),
        ("Snapshot", {"triggers": [UNKNOWN, {"a": [UNKNOWN]}]}),
        (
            "Snapshot",
            {"timeout": UNKNOWN, "reuse_within": UNKNOWN, "rotate_after": "1s"},
        ),
        ("Drill", {}),
        (
            "Drill",
            dict.fromkeys(("version_id", "connection", "scratch_database_id"), UNKNOWN),
        ),
        ("Drill", {"checks": [{"query": UNKNOWN, "at_least": 1}]}),
    ],
    ids=str,
)
def test_what_may_be_right_passes(
    idle: Servicer, kind: str, inputs: dict[str, Any]
) -> None:
    assert (
        idle.of(PROVIDERS[kind]).check(NAMES[kind], {**GOOD[kind], **inputs}).failures
        == []
    )


# Differences

FROM_URL = {"database_id": None, "version_id": None}
OF_URL = {
    "download_url": f"{URL}&versionId=v1",
    "size": 5,
    "created_at": "2026-01-01T00:00:00Z",
}
SAME = {
    "download_url": f"{URL}9&versionId=v1",
    "timeout": "2h",
    "destination": "file:///backups/",
}


@pytest.mark.parametrize(
    ("kind", "state", "news", "acts"),
    [
        ("Snapshot", {}, {}, None),
        ("Snapshot", {}, {"triggers": None}, ["triggers"]),
        ("Snapshot", {}, {"triggers": ["1", {"a": [UNKNOWN]}]}, None),
        ("Snapshot", {}, {"rotate_after": "30d"}, ["created_at"]),
        ("Snapshot", {"triggers": ["other/1"]}, {"triggers": [REFERENCE]}, None),
        (
            "Snapshot",
            {"triggers": ["other/pending:20260101T000000Z"]},
            {"triggers": [REFERENCE]},
            None,
        ),
        (
            "Snapshot",
            {"triggers": ["other/2"]},
            {"triggers": [REFERENCE]},
            ["triggers"],
        ),
        ("Snapshot", PENDING["Snapshot"], {}, []),
        ("Archive", {}, SAME, None),
        ("Archive", {}, {"version_id": "v2", "download_url": None}, ["version_id"]),
        (
            "Archive",
            {},
            {**FROM_URL, "download_url": f"{URL}&versionId=v2"},
            ["download_url"],
        ),
        ("Archive", {}, {"delete_object": True}, []),
        ("Archive", {"lost": "missing"}, {}, []),
        ("Restore", {}, {"version_id": "v2", "timeout": "1h"}, None),
        ("Drill", {}, {}, None),
        (
            "Drill",
            {},
            {
                "timeout": "1h",
                "connection": "postgresql://h/shop",
                "on_failure": "warn",
            },
            None,
        ),
        ("Drill", {}, {"checks": [{**CHECK, "at_least": 2.0}]}, []),
        ("Drill", {}, {"version_id": UNKNOWN, "triggers": UNKNOWN}, None),
        ("Drill", {}, {"version_id": "v2"}, []),
        ("Drill", {}, {"triggers": ["v2"]}, []),
        ("Drill", {}, {"scratch_database_id": "c" * 32}, []),
        ("Drill", {}, {"every": "7d"}, []),
        ("Drill", FAILED, {}, []),
        ("Drill", FAILED, {"on_failure": "warn"}, None),
        (
            "Drill",
            FAILED,
            {"on_failure": "warn", "checks": [{**CHECK, "at_least": 0.0}]},
            [],
        ),
        ("Drill", PENDING["Drill"], {}, []),
    ],
    ids=str,
)
def test_only_what_asks_for_it_acts_again(
    idle: Servicer,
    kind: str,
    state: dict[str, Any],
    news: dict[str, Any],
    acts: list[str] | None,
) -> None:
    """An empty list stands for an update, names for what replaces."""
    idle.forget()
    olds = state if "attempt" in state else {**STATE[kind], **state}
    inputs = {**GOOD[kind], **(OF_URL if kind == "Archive" else {}), **news}
    answer = idle.of(PROVIDERS[kind]).diff(NAMES[kind], ID[kind], olds, inputs)
    assert (answer.replaces, answer.changes, answer.delete_before_replace) == (
        acts or [],
        acts is not None,
        False,
    )
    if (
        kind == "Restore"
    ):  # `get_latest_snapshot` as its source: the next day it brings another one
        (warning,) = idle.diagnostics(NAMES[kind])
        assert warning.startswith(
            "the snapshot changed; set triggers to restore again."
        )


# Refreshes and deletes


def test_a_refresh_of_a_restore_or_drill_sends_nothing(idle: Servicer) -> None:
    for kind in ("Restore", "Drill"):
        answer = idle.of(PROVIDERS[kind]).read(
            NAMES[kind], ID[kind], STATE[kind], GOOD[kind]
        )
        assert (answer.id, answer.outputs) == (ID[kind], STATE[kind])
    drill = idle.of(PROVIDERS["Drill"])
    name = NAMES["Drill"]
    failed = kept(drill.read, name, ID["Drill"], FAILED, GOOD["Drill"])
    assert (failed.id, failed.outputs) == (ID["Drill"], FAILED)
    assert "'orders' expected at least 1 and found 0" in failed.reasons[0]
    assert "The last good drill was of snapshot" in failed.reasons[0]
    assert (
        drill.read(
            name, ID["Drill"], {**FAILED, "on_failure": "warn"}, GOOD["Drill"]
        ).id
        == ID["Drill"]
    )
    told = failure(
        idle.of(PROVIDERS["Restore"]).read,
        NAMES["Restore"],
        ID["Restore"],
        None,
        GOOD["Restore"],
    ).message
    assert told.startswith("A Restore cannot be looked up or imported")


def test_a_delete_says_what_was_forgotten(idle: Servicer) -> None:
    back = "pulumi import" if isinstance(idle, PluginServicer) else "Snapshot.get"
    state = STATE["Snapshot"]
    until = "the service keeps it for at most 30 days"
    for number, (kind, values, text) in enumerate((
        ("Snapshot", state, f"{ID['Snapshot']}; the service keeps it until 2026-01-31T00:00:00Z. `{back}` adds the snapshot again."),
        ("Snapshot", {**state, "available": False}, f"{ID['Snapshot']}, which the service no longer listed"),
        ("Snapshot", PENDING["Snapshot"], f"{PROVISIONAL}; if its snapshot was started, {until}"),
        ("Restore", STATE["Restore"], f"the restore of {DATABASE}/v1; database {DATABASE} keeps what it holds"),
        ("Drill", STATE["Drill"], f"the drill of {DATABASE}/v1; database {OTHER} keeps what it holds"),
    )):  # fmt: skip
        name = f"{NAMES[kind]}{number}"
        idle.of(PROVIDERS[kind]).delete(name, "any", values)
        assert idle.diagnostics(name) == [f"forgotten: {text}"]


# Without a key, or with a wrong one


def test_calls_that_need_a_key_say_how_to_set_one(idle: Servicer) -> None:
    set_one = "Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY."
    text = f"No API key is set.\nNothing was sent.\nhint: {set_one}"
    page = "\nmore: squarecloud-snapshots explain missing-key"
    name = urn("without-a-key")
    inputs = GOOD["Snapshot"]
    assert failure(idle.create, name, inputs).message == text + page
    assert failure(idle.read, name, ID["Snapshot"]).message == text + page
    refresh = failure(idle.read, name, ID["Snapshot"], STATE["Snapshot"], inputs)
    assert refresh.message.startswith(
        f"No API key is set.\nNothing was sent. Snapshot {DATABASE}/v1 was not refreshed"
    )
    assert refresh.message.endswith(f"run `pulumi refresh --run-program`.{page}")
    still = kept(idle.read, name, PROVISIONAL, PENDING["Snapshot"], inputs)
    assert (still.id, still.outputs["attempt"]) == (
        PROVISIONAL,
        PENDING["Snapshot"]["attempt"],
    )
    resumed = kept(idle.update, name, PROVISIONAL, PENDING["Snapshot"], inputs)
    lines = resumed.reasons[0].split("\n\t  ")  # the engine indents a list
    assert (lines[:2], lines[-1]) == (
        ["No API key is set. Nothing was sent.", f"hint: {set_one}"],
        page.lstrip(),
    )
    assert resumed.outputs["attempt"] == PENDING["Snapshot"]["attempt"]
    restore = urn("without-a-key", "squarecloud:index:Restore")
    assert (
        "o API key is set"
        in failure(
            idle.of(PROVIDERS["Restore"]).create, restore, GOOD["Restore"]
        ).message
    )


@pytest.mark.parametrize(
    ("kind", "state"),
    [("Restore", PENDING["Restore"]), ("Drill", PENDING["Drill"]), ("Drill", FAILED)],
    ids=["restore", "drill", "failed drill"],
)
def test_without_a_key_what_is_unfinished_stays(
    idle: Servicer, kind: str, state: dict[str, Any]
) -> None:
    held = kept(
        idle.of(PROVIDERS[kind]).update, NAMES[kind], ID[kind], state, GOOD[kind]
    )
    assert held.id == ID[kind]
    for name in ("attempt", "last_good", "restored_at"):
        assert held.outputs.get(name) == state.get(name)
    assert "o API key is set" in held.reasons[0]
    assert "connection" not in held.outputs


def test_a_wrong_configuration_fails_each_call_but_a_destroy(serve: Serve) -> None:
    name = NAMES["Snapshot"]
    good = GOOD["Snapshot"]
    state = STATE["Snapshot"]
    with serve(config={"squarecloud:apiKey": "a key"}) as servicer:
        for call, arguments in (
            (servicer.check, (name, good)),
            (servicer.create, (name, good)),
            (servicer.read, (name, f"{DATABASE}/v1")),
            (servicer.read, (name, f"{DATABASE}/v1", state, good)),
        ):
            told = failure(call, *arguments).message
            assert told.startswith("squarecloud:apiKey ")
            assert "a key" not in told.replace("such a key", "")
        assert kept(servicer.read, name, PROVISIONAL, PENDING["Snapshot"], good).reasons
        servicer.delete(name, f"{DATABASE}/v1", state)
        assert servicer.diff(name, f"{DATABASE}/v1", state, good).changes is False
