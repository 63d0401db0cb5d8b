"""What `pulumi up`, `preview` and `destroy` do, print and store, at a real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.clock import to_the_second
from tests.engine.stage import DATABASE, diagnostics

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine

PROGRAM = f"""
from dependant import Dependant

config = pulumi.Config()
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[config.get("release")], timeout=config.get("timeout"))
Dependant("dependant", snapshot.download_url)
pulumi.export("download_url", snapshot.download_url)
pulumi.export("id", snapshot.id)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("types", pulumi.Output.all(snapshot.size, snapshot.available, snapshot.created_at, snapshot.attempt).apply(
    lambda values: [type(value).__name__ for value in values]))
"""


def test_no_further_up_takes_another_snapshot_unasked(app: App) -> None:
    app.program(PROGRAM)
    preview = app.preview()
    assert "before-release create" in preview
    assert app.requests() == []

    app.slow()
    up = app.start_up()
    up.shows("accepted; next check ")  # live progress, on the resource's own row
    assert "squarecloud:Snapshot before-release creating" in up.text
    app.pass_time(600)
    printed = app.ends(up)
    assert "Diagnostics" not in printed
    (version,) = app.started()
    assert f"found snapshot {version}" in printed

    outputs = app.stack.outputs()
    assert outputs["id"] == f"{DATABASE}/{version}"
    assert outputs["download_url"] == "[secret]"
    assert outputs["types"] == ["int", "bool", "str", "NoneType"]
    url = app.url()
    assert f"versionId={version}" in url
    exported = app.stack.run("stack", "export").stdout
    for stored in (exported, app.state_file.read_text()):
        assert version in stored
        assert url not in stored
        assert "Signature=" not in stored
        assert app.emulator.key not in stored
    assert app.snapshot()["additionalSecretOutputs"] == ["download_url"]

    app.forget_requests()
    assert "unchanged" in app.run("up", "--yes")
    printed = app.up("-c", "timeout=10m")
    assert "3 unchanged" in printed
    assert app.snapshot()["inputs"]["timeout"] == "10m"
    assert app.requests() == []

    app.pass_time(200)
    printed = app.run("up", "--yes", "-c", "release=2")
    assert "[diff: ~triggers]" in printed
    (newer,) = app.started()
    expires_at = to_the_second(app.outputs()["expires_at"])
    assert printed.count("Diagnostics:") == 1
    assert f"forgotten: {DATABASE}/{version}; the service keeps it until" in printed
    assert app.url() != url

    del app.environment["SQUARECLOUD_API_KEY"]
    app.forget_requests()
    printed = app.run("destroy", "--yes")
    assert (
        f"forgotten: {DATABASE}/{newer}; the service keeps it until {expires_at}. `Snapshot.get` brings it back."
        in printed
    )
    assert app.requests() == []
    assert app.resources() == []


WRONG_INPUTS = {
    f'"{DATABASE}", timeout="soon", rotate_after="31d", triggers="release"': [
        "property timeout value {soon} has a problem: must be a duration such as 90s, 45m, 1h30m or 7d",
        "property rotate_after value {31d} has a problem: must be at most 30d",
        "property triggers value {release} has a problem: must be a list, not str",
    ],
    f'"{DATABASE}", opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="never"))': [
        "property timeout value {never} has a problem: must be a duration",
    ],
}


def test_wrong_inputs_fail_in_the_preview_on_their_property(app: App) -> None:
    for arguments, problems in WRONG_INPUTS.items():
        app.program(f'Snapshot("before-release", {arguments})')
        printed = app.preview(fails=True)
        for problem in problems:
            assert problem in diagnostics(printed)
    app.program(f'Snapshot("before-release", "{DATABASE}")')
    app.environment["SQUARECLOUD_POLL_EVERY"] = "often"
    assert "error: SQUARECLOUD_POLL_EVERY must be a duration" in diagnostics(app.preview(fails=True))
    assert app.requests() == []


def test_rotation_is_due_by_age_alone(app: App) -> None:
    program = f'Snapshot("before-release", "{DATABASE}", rotate_after="{{}}")'
    app.program(program.format("3h"))
    app.up()
    assert "2 unchanged" in app.up()
    app.program(program.format("1h"))  # the service's clock is two hours behind, so it is that old at once
    app.pass_time(200)
    assert "forgotten: " in app.up()
    app.pass_time(200)
    created_at = to_the_second(app.outputs()["created_at"])
    printed = app.run("up", "--yes")  # no input has changed, so the reason stands on the row
    reason = f"create replacement created at {created_at}, longer ago than rotate_after (1h)"
    assert reason in printed
    assert len(app.started()) == 3
    assert app.outputs()["version_id"] == app.started()[-1]


def test_inputs_from_other_resources_pass_the_preview(app: App) -> None:
    app.program(f"""
from dependant import Dependant

database = Dependant("database", "{DATABASE}")
later = pulumi.Output.all(database.id, database.url)
Snapshot("before-release", later.apply(lambda values: values[1]),
         triggers=[{{"nested": [later]}}, pulumi.Output.secret("not for everyone")],
         timeout=later.apply(lambda _: "10m"), rotate_after=later.apply(lambda _: "30d"))
""")
    assert "+ 3 to create" in app.preview()
    app.up()
    assert app.outputs()["database_id"] == DATABASE
    assert "not for everyone" not in app.state_file.read_text()
    assert "unchanged" in app.up()
    assert len(app.posts()) == 1


def test_unusual_ids_and_keys_in_plain_text_are_warned_of_once(app: App) -> None:
    app.emulator.control("databases", {"id": "My-Database"})
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    app.stack.run("config", "set", "--plaintext", "squarecloud:apiKey", key)
    app.program("""
Snapshot("a", "My-Database")
Snapshot("b", "My-Database")
""")
    told = diagnostics(app.preview())
    assert told.count("'My-Database' is not the usual shape of a database id (32 hexadecimal digits)") == 1
    assert told.count("the API key is configured in plain text") == 1


def test_nothing_is_sent_without_a_key_or_a_network(app: App) -> None:
    app.program(f'Snapshot("before-release", "{DATABASE}")')
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    assert "before-release create" in app.preview()
    told = diagnostics(app.up(fails=True))
    assert (
        "    error: No API key is set.\n"
        "    Nothing was sent.\n"
        "    hint: Set a valid key with `pulumi config set --secret squarecloud:apiKey` or in SQUARECLOUD_API_KEY.\n"
        "    more: squarecloud-snapshots explain missing-key\n"
    ) in told
    app.environment["SQUARECLOUD_API_KEY"] = key
    app.program(f'Snapshot("before-release", "{DATABASE}", timeout="3s")')
    told = diagnostics(app.up("-c", "squarecloud:apiUrl=http://127.0.0.1:9/v2", fails=True))
    assert (
        f"No snapshot of database {DATABASE} was taken. The wait ended after 3 s, while connecting to the service"
        in told
    )
    assert app.snapshots() == []
    assert app.requests() == []
