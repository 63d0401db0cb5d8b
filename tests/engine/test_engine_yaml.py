"""The YAML example as it stands in its folder: another language, served by the plugin."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.plugin.description.schema import schema
from tests.engine.stage import DATABASE, diagnostics, joined
from tests.support.command_plugin import plugged
from tests.support.preloaded import commands_of
from tools import language_hosts

if TYPE_CHECKING:
    from tests.engine.stage import App

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "another-language.md"
IN_PYTHON = f"""
snapshot = Snapshot("before-release", "{DATABASE}", triggers=["v1.2.0"])
pulumi.export("versionId", snapshot.version_id)
"""


def test_a_python_program_continues_in_yaml_without_a_snapshot(app: App) -> None:
    """As the page says, by its own program and its own commands."""
    host, plugin = language_hosts.YAML.ensure(os.environ), Path(commands_of(app.environment))
    app.environment["PATH"] = f"{host}:{app.environment['PATH']}"
    app.program(IN_PYTHON)
    app.up()
    page = PAGE.read_text()
    (program,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    list_urns, _, up, import_ = re.findall(r"^```sh\n(\S+ .*)\n```$", page, re.MULTILINE)
    (urn,) = re.findall(r"urn:pulumi:\S+", program)
    assert urn in app.run(*list_urns.split()[1:])
    before = app.outputs()["version_id"]

    (app.stack.project / "__main__.py").unlink()
    found = f"plugins: {{providers: [{{name: squarecloud, path: {json.dumps(str(plugin))}}}]}}\n"
    (app.stack.project / "Pulumi.yaml").write_text(program + found)
    app.forget_requests()
    printed = app.run(*up.split()[1:], "--yes")
    assert "~ 1 updated" in printed
    assert app.stack.outputs()["versionId"] == before
    (app.stack.project / "Pulumi.yaml").write_text(re.sub(r"    options:\n.*\n.*\n", "", program) + found)
    assert "2 unchanged" in app.up()
    assert app.posts() == []

    (state,) = [one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"]
    app.run("state", "delete", state["urn"], "--yes")
    app.run(*import_.split()[1:], "--yes", "--generate-code=false", "--protect=false")
    (state,) = [one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"]
    assert state["outputs"]["versionId"] == before


def in_yaml(app: App, name: str, **more: Path) -> Path:
    """Have an example as the project; returns the plugin's folder."""
    app.example(name, "yaml")
    host, plugin = language_hosts.YAML.ensure(os.environ), Path(commands_of(app.environment))
    app.environment["PATH"] = f"{host}:{app.environment['PATH']}"
    # Where the reader has installed the plugins, this has not.
    found = [{"name": name, "path": str(path)} for name, path in {"squarecloud": plugin, **more}.items()]
    with (app.stack.project / "Pulumi.yaml").open("a") as project:
        project.write(f"plugins: {{providers: {json.dumps(found)}}}\n")
    app.run("config", "set", "databaseId", DATABASE)
    return plugin


def test_a_yaml_program_takes_a_snapshot_and_archives_it(app: App) -> None:
    plugin = in_yaml(app, "yaml")
    preview = app.preview()
    assert "squarecloud:index:Archive offsite create" in preview
    assert [one for one in app.requests() if one["kind"] == "create"] == []
    printed = app.up()
    assert "Warning" not in printed  # the language's own, of what it does not know
    (version,) = app.started()
    outputs = app.stack.outputs()
    assert outputs["id"] == f"{DATABASE}/{version}"
    assert outputs["engine"] == "postgres"
    assert outputs["downloadUrl"] == "[secret]"
    (archive,) = (app.stack.project / "archives").rglob("*.zip")
    assert outputs["archive"] == archive.as_uri()
    assert "3 unchanged" in app.up()

    told = app.stack.run("package", "get-schema", str(plugin / "pulumi-resource-squarecloud")).stdout
    assert json.loads(told)["resources"].keys() == schema()["resources"].keys()

    wrong = (app.stack.project / "Pulumi.yaml").read_text().replace("keepLast: 10", "keepLast: many")
    (app.stack.project / "Pulumi.yaml").write_text(wrong.replace("triggers:", "trigger:"))
    printed = app.preview(fails=True)
    assert "keepLast must be assigned a value of type `number`" in printed or "not assignable" in printed
    assert "Property trigger does not exist on" in printed


RESTORE = """
  back:
    type: squarecloud:Restore
    properties:
      databaseId: ${databaseId}
      versionId: ${guard.last.versionId}
      overwrite: true
      triggers: ["${rollback}"]
outputs:"""


def test_a_guard_in_yaml_holds_a_migration_and_leads_back(app: App) -> None:
    in_yaml(app, "guard-yaml", command=plugged(app.folder))
    app.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    done = app.stack.project / "done"
    app.up()
    app.pass_time(600)
    app.run("config", "set", "release", "v2")
    app.forget_requests()
    printed = app.preview()
    assert f"1 change will wait for a snapshot of database {DATABASE}, which would be a new one" in printed
    assert app.requests() == []

    # Without a snapshot the migration does not run; an account whose quota is used up says so from then on.
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    printed = app.up(fails=True)
    assert "The create of Command migration was held back, since no snapshot guards it: POST" in joined(printed)
    assert done.read_text().split("\n") == ["create migration", ""]
    assert "which would be a new one; the daily quota is used up until about" in app.preview()
    app.mend()

    app.forget_requests()
    printed = app.up()
    (version,) = app.started()
    assert f"guarded by {DATABASE}/{version}: create of Command migration" in diagnostics(printed)
    assert done.read_text().split() == ["create", "migration", "create", "migration", "delete", "migration"]
    assert "3 unchanged" in app.up()

    # What the README says for the way back.
    program = app.stack.project / "Pulumi.yaml"
    program.write_text(program.read_text().replace("\noutputs:", RESTORE))
    app.run("config", "set", "rollback", "1")
    app.up()
    assert [each["version_id"] for each in app.requests() if each["kind"] == "restore"] == [version]

    wrong = program.read_text().replace("before: [create, update, delete]", "before: [creation]")
    program.write_text(wrong.replace("rollback: ${rollback}", "reuseWithin: soon"))
    printed = joined(app.preview(fails=True))
    assert "before must be a list of 'create', 'update', 'delete', not 'creation'" in printed
    assert "reuseWithin must be" in printed
