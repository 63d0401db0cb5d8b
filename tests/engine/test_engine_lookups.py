"""Programs that look up snapshots and databases, at a real engine: in previews and updates, with errors, and inline."""

import re
from pathlib import Path

import pytest

from tests.engine.stage import DATABASE, OTHER_DATABASE, App, diagnostics, joined

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).resolve().parent.parent.parent
BLOCKS: list[str] = re.findall(
    r"```python\n(.*?)```", (PROJECT / "docs" / "lookups.md").read_text(), re.DOTALL
)
IMPORT = "from pulumi_snapshots import *\n"


def documented(*words: str) -> str:
    """The program of the documents that has these words."""
    (found,) = {block for block in BLOCKS if all(word in block for word in words)}
    return str(found)


def kinds(app: App) -> list[str]:
    return sorted(entry["kind"] for entry in app.requests())


def test_every_postgresql_database_of_the_account_in_four_lines(app: App) -> None:
    third = "c" * 32
    app.emulator.control(
        "databases",
        {"id": third, "type": "postgres", "name": f"postgres-{DATABASE[:8]}"},
    )
    app.program(documented("get_databases", "postgres"))
    preview = app.preview()
    assert preview.count("squarecloud:Snapshot") >= 2
    assert kinds(app) == ["me", "status", "status", "status"]
    app.up()
    assert {one["outputs"]["database_id"] for one in app.snapshots()} == {
        DATABASE,
        third,
    }
    assert {entry["database_id"] for entry in app.posts()} == {DATABASE, third}
    app.up()
    assert len(app.posts()) == 2


def test_a_twin_sees_its_snapshot_and_keeps_its_url_secret(app: App) -> None:
    earlier = app.stored()
    app.program(f"""
import dataclasses
from pulumi_snapshots import get_database_output, get_download_url_output, get_latest_snapshot, get_latest_snapshot_output, get_snapshots_output
snapshot = Snapshot("before-release", "{DATABASE}")
plain = get_latest_snapshot("{DATABASE}", with_url=True)  # before the snapshot is taken
latest = get_latest_snapshot_output(snapshot.database_id, max_age="5m")
print(f"plain: {{plain}}")
latest.apply(lambda found: print(f"latest: {{found}}"))
pulumi.export("plain", plain)
pulumi.export("dict", dataclasses.asdict(plain))
pulumi.export("version", latest.version_id)
pulumi.export("url", get_latest_snapshot_output(snapshot.database_id, max_age="5m", with_url=True).download_url)
pulumi.export("alone", get_download_url_output(latest.database_id, latest.version_id))
pulumi.export("all", get_snapshots_output(snapshot.database_id))
pulumi.export("engine", get_database_output(snapshot.database_id).type)
""")
    for printed in (app.preview(), app.up()):
        assert re.search(r"url *: \[secret\]", printed)
        assert (
            f"plain: SnapshotInfo(database_id='{DATABASE}', version_id='{earlier}'"
            in printed
        )
        assert "latest: SnapshotInfo(" in printed
    shown = app.stack.outputs()
    hidden = app.stack.outputs(show_secrets=True)
    assert shown == {
        **shown,
        "url": "[secret]",
        "alone": "[secret]",
        "engine": "postgres",
    }
    assert shown["plain"]["version_id"] == shown["dict"]["version_id"] == earlier
    assert "download_url" not in shown["plain"] | shown["dict"]
    assert (
        shown["version"]
        == hidden["version"]
        == app.started()[0]
        == app.outputs()["version_id"]
    )
    assert f"versionId={hidden['version']}" in hidden["url"]
    assert hidden["alone"] == hidden["url"]
    assert [one["version_id"] for one in shown["all"]] == [hidden["version"], earlier]
    state = app.state_file.read_text()
    assert "Signature=" not in state
    assert "AWSAccessKeyId" not in state


@pytest.mark.parametrize("service", [("--cache-world", "kept")])
def test_what_was_found_can_be_archived(app: App) -> None:
    automatic = app.stored(origin="automatic")
    folder = app.folder / "archives"
    program = documented("get_latest_snapshot(", "Archive(").replace(
        "s3://backups/shop/", f"{folder}/plain/"
    )
    app.program(f"""{program}
from pulumi_snapshots import get_latest_snapshot_output
Archive("twin", get_latest_snapshot_output(pulumi.Output.from_input("{DATABASE}")), destination="{folder}/twin/")
""")
    app.up()
    assert len(list(folder.rglob(f"*{automatic}.zip"))) == 2
    assert "Signature=" not in app.state_file.read_text()
    none = f'Archive("none", get_latest_snapshot_output("{OTHER_DATABASE}"), destination="{folder}/none/")'
    app.program(IMPORT + none)
    told = joined(diagnostics(app.preview(fails=True)))
    assert (
        "error: Archive 'none': nothing to archive is given, or a lookup has found no snapshot. Give"
        in told
    )


def test_a_caught_lookup_failure_does_not_fail_the_program(app: App) -> None:
    app.stored()
    caught = documented("LookupFailed").replace(DATABASE, "b" * 32)
    app.program(f"""{IMPORT}
{documented("get_snapshots_output")}
{documented("latest_url")}
{caught}
pulumi.export("running", running)
twin = get_database_output("{"b" * 32}").apply(lambda found: found.name).recover(lambda failure: "no such database")
pulumi.export("twin", twin)
""")
    app.up()
    outputs = {
        "kept": 2,
        "running": False,
        "twin": "no such database",
        "latest_url": "[secret]",
    }
    assert app.stack.outputs() == outputs
    assert "versionId=" in app.stack.outputs(show_secrets=True)["latest_url"]
