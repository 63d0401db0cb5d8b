"""The YAML example as it stands in its folder: another language, served by the plugin."""

from __future__ import annotations

import json
import os
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
