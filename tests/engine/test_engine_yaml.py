"""The YAML example as it stands in its folder: another language, served by the plugin."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pulumi_snapshots.plugin.description.schema import schema
from tests.engine.stage import DATABASE
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


def test_a_yaml_program_takes_a_snapshot_and_archives_it(app: App) -> None:
    app.example("yaml", "yaml")
    host, plugin = language_hosts.YAML.ensure(os.environ), Path(commands_of(app.environment))
    app.environment["PATH"] = f"{host}:{app.environment['PATH']}"
    # Where the reader has installed the plugin, this has not.
    with (app.stack.project / "Pulumi.yaml").open("a") as project:
        project.write(f"plugins: {{providers: [{{name: squarecloud, path: {json.dumps(str(plugin))}}}]}}\n")
    app.run("config", "set", "databaseId", DATABASE)
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
