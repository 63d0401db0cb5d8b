"""The life of a snapshot at a real engine: what `up`, `preview`, `refresh` and `destroy` do, print and store, and what ends a run early."""

import re
import signal

import pytest

from pulumi_snapshots.clock import to_the_second
from tests.engine.stage import DATABASE, App, Command, diagnostics, joined, kept_because

pytestmark = pytest.mark.engine

URN = "urn:pulumi:dev::app::pulumi-python:dynamic/squarecloud:Snapshot::before-release"
PROGRAM = f"""
from servers import Server

config = pulumi.Config()
snapshot = Snapshot("before-release", "{DATABASE}", triggers=[config.get("release")], timeout=config.get("timeout"))
Server("dependant", snapshot.download_url)
pulumi.export("download_url", snapshot.download_url)
pulumi.export("id", snapshot.id)
pulumi.export("version_id", snapshot.version_id)
pulumi.export("types", pulumi.Output.all(snapshot.size, snapshot.available, snapshot.created_at, snapshot.attempt).apply(
    lambda values: [type(value).__name__ for value in values]))
"""


def test_no_further_up_takes_another_snapshot_unasked(app: App) -> None:
    app.program(PROGRAM)
    assert "before-release create" in app.preview()
    assert app.requests() == []
    version = _takes_it_while_the_row_tells(app)
    url = _keeps_its_url_secret(app, version)

    app.forget_requests()
    assert "unchanged" in app.run("up", "--yes")
    assert "3 unchanged" in app.up("-c", "timeout=10m")
    assert app.snapshot()["inputs"]["timeout"] == "10m"
    assert app.requests() == []

    app.pass_time(200)
    newer = _takes_another_for_another_trigger(app, version)
    assert app.url() != url
    _is_forgotten_by_a_destroy_without_a_key(app, newer)


def _takes_it_while_the_row_tells(app: App) -> str:
    """The version of a slow snapshot, whose progress the resource's own row shows."""
    app.slow()
    up = app.start_up()
    up.shows("accepted; next poll ")  # live progress, on the resource's own row
    assert "squarecloud:Snapshot before-release creating" in up.text
    app.pass_time(600)
    printed = app.ends(up)
    assert "Diagnostics" not in printed
    (version,) = app.started()
    assert f"found snapshot {version}" in printed
    return version


def _keeps_its_url_secret(app: App, version: str) -> str:
    """The URL of a snapshot whose outputs are shown and stored, its URL only as a secret."""
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
    return url


def _takes_another_for_another_trigger(app: App, version: str) -> str:
    """The newer one's version; of the older one the run says once until when the service keeps it."""
    printed = app.run("up", "--yes", "-c", "release=2")
    assert "[diff: ~triggers]" in printed
    (newer,) = app.started()
    assert printed.count("Diagnostics:") == 1
    assert f"forgotten: {DATABASE}/{version}; the service keeps it until" in printed
    return newer


def _is_forgotten_by_a_destroy_without_a_key(app: App, version: str) -> None:
    expires_at = to_the_second(app.outputs()["expires_at"])
    del app.environment["SQUARECLOUD_API_KEY"]
    app.forget_requests()
    printed = app.run("destroy", "--yes")
    kept = f"{DATABASE}/{version}; the service keeps it until {expires_at}. `Snapshot.get` adds the snapshot again."
    assert f"forgotten: {kept}" in printed
    assert app.requests() == []
    assert app.resources() == []


def test_a_preview_warns_once_and_fails_on_the_property_of_a_wrong_input(
    app: App,
) -> None:
    app.emulator.control("databases", {"id": "My-Database"})
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    app.program('Snapshot("a", "My-Database")\nSnapshot("b", "My-Database")\n')
    assert "configured in plain text" not in app.preview(), "a preview needs no key"
    app.stack.run("config", "set", "--plaintext", "squarecloud:apiKey", key)
    told = diagnostics(app.preview())
    assert (
        told.count(
            "'My-Database' does not have the usual form of a database id (32 hexadecimal digits)"
        )
        == 1
    )
    assert told.count("the API key is configured in plain text") == 1
    never = "opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create='never'))"
    app.program(f'Snapshot("before-release", "{DATABASE}", rotate_after=-5, {never})')
    told = diagnostics(app.preview(fails=True))
    assert "property timeout value {never} has a problem: must be a duration" in told
    assert (
        "rotate_after must be a duration in d, h, m or s such as 90s, 45m, 1h30m or 7d, not -5"
        in told
    )
    app.program(f'Snapshot("before-release", "{DATABASE}")')
    app.environment["SQUARECLOUD_POLL_EVERY"] = "often"
    assert "error: SQUARECLOUD_POLL_EVERY must be a duration" in diagnostics(
        app.preview(fails=True)
    )
    assert app.requests() == []


def test_rotation_is_due_by_age_alone(app: App) -> None:
    program = f'Snapshot("before-release", "{DATABASE}", rotate_after="{{}}")'
    app.program(program.format("3h"))
    app.up()
    assert "2 unchanged" in app.up()
    # The service's clock is two hours behind: by this machine's, it is that old at once.
    app.program(program.format("40m"))
    app.pass_time(200)
    assert "by the service's clock it is not old enough" in joined(app.up())
    app.pass_time(2500)
    assert "forgotten: " in app.up()
    app.pass_time(2500)
    created_at = to_the_second(app.outputs()["created_at"])
    # no input has changed, so the reason stands on the row
    printed = app.run("up", "--yes")
    reason = f"create replacement before-release: created at {created_at}, longer ago than rotate_after (40m)"
    assert reason in printed
    assert len(app.started()) == 3
    assert app.outputs()["version_id"] == app.started()[-1]


def test_inputs_from_other_resources_pass_the_preview(app: App) -> None:
    app.program(f"""
from servers import Server

database = Server("database", "{DATABASE}")
later = pulumi.Output.all(database.id, database.value)
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


# What happens to a snapshot whose run ends before it is there


def waiting(app: App, *arguments: str, real: bool = False) -> Command:
    """A `pulumi up` whose request was accepted, and that waits for its snapshot."""
    app.slow()
    up = app.start_up(*arguments, real=real)
    up.shows("accepted; next poll ")
    return up


def test_the_next_up_resumes_an_interrupted_wait_for_free(app: App) -> None:
    app.program(PROGRAM)
    up = waiting(app, real=True)
    up.process.send_signal(signal.SIGINT)
    printed = app.ends(up, fails=True)

    kept = app.snapshot()
    assert kept["id"].startswith(f"{DATABASE}/pending:2")
    assert kept["outputs"]["attempt"]["answered"] == "202"
    assert kept_because(app, kept, printed) == (
        f"A snapshot of database {DATABASE} was requested at {kept['outputs']['requested_at']} and accepted (202), but is "
        "not listed yet. The wait was interrupted. The request is kept in the state: the next `pulumi up` keeps waiting and sends no "
        f"second request. `pulumi up --refresh --replace '{URN}'` abandons the pending snapshot and takes a new one, "
        "which uses quota. more: squarecloud-snapshots explain pending"
    )

    again = app.start_up()
    again.shows("accepted; next poll ")
    app.pass_time(600)
    told = diagnostics(app.ends(again))
    (version,) = app.started()
    assert re.search(
        r" pending since [\d: -]+ UTC; will keep waiting, no new request\n", told
    )
    assert re.search(
        rf" found {DATABASE}/{version}, taken .* ago; no new request was sent\n", told
    )
    assert len(app.posts()) == 1
    assert app.outputs()["version_id"] == version
    assert "attempt" not in app.outputs()
    assert app.stack.outputs()["version_id"] == version
    app.refresh()
    assert app.snapshot()["id"] == f"{DATABASE}/{version}"
    assert len(app.posts()) == 1


def test_the_old_snapshot_stays_until_its_replacement_is_there(app: App) -> None:
    app.program(PROGRAM)
    app.up()
    (old,) = app.started()
    before = app.stack.outputs(show_secrets=True)
    app.pass_time(200)

    up = waiting(app, "-c", "release=2", real=True)
    up.process.terminate()  # as a CI system ends a job
    printed = app.ends(up, fails=True)
    assert "The wait was interrupted." in joined(printed)
    assert "forgotten" not in printed
    assert app.stack.outputs(show_secrets=True) == before
    assert "dependant" not in printed
    pending, kept = app.snapshots()
    assert kept["delete"] is True
    assert kept["outputs"]["version_id"] == old
    assert "pending:" in pending["id"]

    app.pass_time(600)
    printed = app.up("-c", "release=2")
    told = diagnostics(printed)
    assert re.search(r" found \S+, taken .* ago; no new request was sent\n", told)
    assert f"forgotten: {DATABASE}/{old}" in told
    assert app.started() == [old, app.outputs()["version_id"]]
    assert len(app.posts()) == 2


# Refreshes and look-ups


def test_a_missing_snapshot_stays_in_the_state(app: App) -> None:
    app.program(PROGRAM)
    app.up()
    (version,) = app.started()
    app.emulator.control(f"snapshots/{version}", method="DELETE")
    app.pass_time(3600)
    printed = app.refresh()
    assert (
        f"warning: snapshot {DATABASE}/{version} is not in the service's listing"
        in diagnostics(printed)
    )
    assert app.outputs()["available"] is False
    assert "3 unchanged" in app.up()
    printed = app.up("--refresh", "--replace", URN)
    assert (
        f"forgotten: {DATABASE}/{version}, which the service no longer listed"
        in diagnostics(printed)
    )
    assert app.started() == [version, app.outputs()["version_id"]]


def test_a_changed_key_reaches_a_refresh_that_runs_the_program(app: App) -> None:
    app.program(PROGRAM)
    key = app.environment.pop("SQUARECLOUD_API_KEY")
    app.stack.run("config", "set", "--secret", "squarecloud:apiKey", key)
    app.up()
    new_key = "new-key-" * 8
    app.change_key(new_key)
    app.stack.run("config", "set", "--secret", "squarecloud:apiKey", new_key)
    refused = "The API key is unknown, revoked or expired"
    told = diagnostics(app.refresh(fails=True))
    assert refused in told
    advice = "if it was changed since, run `pulumi refresh --run-program`."
    assert any(line.endswith(advice) for line in told.splitlines())
    app.refresh("--run-program")
    assert app.outputs()["available"] is True


def test_an_existing_snapshot_is_looked_up_by_its_id(app: App) -> None:
    stored = app.emulator.control(
        "snapshots", {"database_id": DATABASE, "size": 30_000_001}
    )
    found = f"{DATABASE}/{stored['version_id']}"
    program = """
snapshot = Snapshot.get("existing", "{}")
pulumi.export("download_url", snapshot.download_url)
pulumi.export("size", snapshot.size.apply(lambda size: [type(size).__name__, str(size)]))
pulumi.export("requested_at", snapshot.requested_at.apply(repr))
"""
    app.program(program.format(found))
    assert "read pulumi-python:dynamic/squarecloud:Snapshot existing" in app.preview()
    app.up()
    assert app.snapshot("existing")["id"] == found
    assert app.stack.outputs() == {
        "download_url": "[secret]",
        "size": ["int", str(stored["size"])],
        "requested_at": "None",
    }
    assert f"versionId={stored['version_id']}" in app.url()
    assert app.url() not in app.state_file.read_text()
    app.refresh()
    assert app.snapshot("existing")["outputs"]["available"] is True
    assert "forgotten" not in app.destroy()

    app.program(program.format(f"{DATABASE}/nothing"))
    missing = f"The service lists no snapshot nothing of database {DATABASE} yet: its page can be"
    assert missing in diagnostics(app.up(fails=True))
    assert app.posts() == []
