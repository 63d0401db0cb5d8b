"""Programs with the SDKs that are generated from the schema; skipped with the reason where a tool is missing.

The example in TypeScript runs while the service keeps its pages, as the emulator does by default.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION, Identity
from pulumi_snapshots.plugin.description.schema import example
from tests.engine.stage import DATABASE, EXAMPLES, App
from tests.support import language_programs
from tests.support.machine import had
from tools import engine as engines
from tools import language_hosts, sdks

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("generated")]

MOCKED = language_programs.PROGRAMS / "mocked"
PYTHON = """
import pulumi
import pulumi_squarecloud as squarecloud

from pulumi_snapshots import get_database

config = pulumi.Config()
before = squarecloud.Snapshot("before-release", database_id=config.require("databaseId"), triggers=["v1"])
version_id: pulumi.Output[str] = before.version_id
whole = squarecloud.Archive("whole", snapshot=before, destination="archives/")
named = squarecloud.Archive(
    "named", database_id=before.database_id, version_id=version_id, size=before.size, destination="named/"
)
earlier = squarecloud.get_snapshots(database_id=config.require("databaseId")).snapshots
ours = get_database(config.require("databaseId"))
if config.get_bool("restore"):
    squarecloud.Restore("back", snapshot=before, overwrite=True)
    squarecloud.Drill(
        "weekly",
        snapshot=before,
        scratch_database_id=config.require("scratchId"),
        connection=config.require_secret("scratchUrl"),
        checks=[squarecloud.CheckArgs(query="select count(*) from orders", at_least=1000)],
        overwrite_scratch=True,
    )
    squarecloud.Restore("named", database_id=before.database_id, version_id=version_id, overwrite=True)

pulumi.export("snapshot", version_id)
pulumi.export("downloadUrl", before.download_url)
pulumi.export("archive", whole.uri)
pulumi.export("named", named.version_id)
pulumi.export("earlier", earlier)
pulumi.export("ours", ours.type)
"""
"""A program with the generated SDK, and with this package's own lookups beside it."""


@pytest.fixture(scope="module")
def generated() -> Path:
    return had("go", language_programs.generated)


@pytest.fixture
def packages() -> Path:
    had("npm", lambda: sdks.node_modules(os.environ))
    # one that does not compile is no missing tool
    return language_programs.all_typescript()


@pytest.fixture
def go() -> str:
    return had("go", lambda: engines.new_enough(MOCKED, os.environ))


@pytest.mark.parametrize("service", [("--cache-world", "kept")])
def test_the_typescript_example_runs_with_the_installed_plugin(
    app: App, packages: Path
) -> None:
    host = had("go", lambda: language_hosts.NODEJS.ensure(os.environ))
    app.example("typescript", "dev")
    (app.stack.project / "node_modules").symlink_to(packages / "node_modules")
    (app.stack.project / "bin").symlink_to(packages / "typescript" / "bin")
    app.environment["PATH"] = os.pathsep.join([app.environment["PATH"], str(host)])
    app.run("config", "set", "databaseId", DATABASE)
    automatic = app.stored(origin="automatic")
    _names_the_plugin_that_is_missing(app)
    app.install_plugin()
    assert "squarecloud:index:Archive offsite create" in app.preview()
    assert app.posts() == []
    app.pass_time(3600)  # the service no longer serves the listing of the preview
    _exports_the_url_of_an_earlier_one_too(app)
    version = _takes_and_archives_one_and_shows_the_earlier_one(app, automatic)

    app.pass_time(3600)  # the service no longer serves the listing from before
    app.forget_requests()
    assert "3 unchanged" in app.up()
    assert app.posts() == []
    earlier = app.stack.outputs(show_secrets=True)["earlier"]
    assert {one["versionId"] for one in earlier} == {automatic, version}
    assert "Signature=" not in str(earlier)


def _names_the_plugin_that_is_missing(app: App) -> None:
    """On a machine whose PATH does not lead to it."""
    plugin = "pulumi-resource-squarecloud"
    folders = app.environment["PATH"].split(os.pathsep)
    without = [each for each in folders if not Path(each, plugin).exists()]
    app.environment["PATH"] = os.pathsep.join(without)
    missing = f"no resource plugin '{plugin}' found in the workspace at version v{PLUGIN_VERSION}"
    assert missing in app.preview(fails=True)


def _exports_the_url_of_an_earlier_one_too(app: App) -> None:
    """By a change of what is compiled, in a folder in place of the link to what other tests use."""
    compiled = app.stack.project / "bin"
    index = (compiled / "index.js").read_text()
    compiled.unlink()
    compiled.mkdir()
    asked = "squarecloud.getDownloadUrlOutput({ databaseId, versionId: snapshots[0].versionId })"
    (compiled / "index.js").write_text(
        index.replace("earlier: snap", f"url: {asked}.downloadUrl, earlier: snap")
    )


def _takes_and_archives_one_and_shows_the_earlier_one(app: App, automatic: str) -> str:
    """The version of the one that the example takes."""
    app.up()
    (version,) = app.started()
    outputs = app.stack.outputs()
    assert (outputs["snapshot"], outputs["downloadUrl"]) == (version, "[secret]")
    assert [one["versionId"] for one in outputs["earlier"]] == [automatic]
    assert outputs["url"] == "[secret]"
    assert f"versionId={automatic}" in app.stack.outputs(show_secrets=True)["url"]
    (archive,) = (app.stack.project / "archives").rglob("*.zip")
    assert outputs["archive"] == archive.resolve().as_uri()
    return version


GUARDING = r"^    guarded by (\S+): {} of Stash (?:shop|worker)$"
"""The line that stays of a guarded change."""


@pytest.mark.nightly
def test_a_guard_in_go_holds_changes_and_leads_back(
    app: App, generated: Path, go: str
) -> None:
    app.example("guard-go", "dev")
    module = app.stack.project / "go.mod"
    host = had("go", lambda: language_hosts.GO.ensure(os.environ))
    module.write_text(
        module.read_text().replace("../../sdks/go", str(generated / "go"))
    )
    engines.raise_to_engine(go, app.stack.project, os.environ, named=True)
    app.environment["PATH"] = os.pathsep.join(
        [app.environment["PATH"], str(host), str(Path(go).parent)]
    )
    # The language host compiles the program for each command, with what other programs here were compiled from.
    app.environment.update(engines.GO_ENVIRONMENT)
    app.run("config", "set", "databaseId", DATABASE)
    app.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    app.up()
    assert app.posts() == []
    app.run("config", "set", "release", "v2")
    # With a preview, which sends nothing: else the update would reuse what it has taken.
    printed = app.run("up", "--yes")
    (version,) = app.started()
    assert app.stack.outputs()["running"] == "shop v2"
    assert re.findall(GUARDING.format("update"), printed, re.MULTILINE) == [
        f"{DATABASE}/{version}"
    ]
    assert f"2 changes will wait for a snapshot of database {DATABASE}" in printed
    app.run("config", "set", "rollback", "1")
    app.up()
    assert app.restores() == [version]
    app.forget_requests()
    app.pass_time(600)
    # Deletes come after the program's end.
    printed = app.run("destroy", "--run-program", "--yes", "--skip-preview")
    (another,) = app.started()
    assert re.findall(GUARDING.format("delete"), printed, re.MULTILINE) == [
        f"{DATABASE}/{another}"
    ]
    assert another != version, (
        "that one is from before the change that has happened since"
    )


def test_types_need_no_cast_and_programs_are_tested_with_mocks_in_typescript(
    packages: Path,
) -> None:
    """Without an engine, a plugin or a key: the programs with mocks are those of the page."""
    command = ["node", str(packages / "mocked" / "bin" / "index.js")]
    done = subprocess.run(  # noqa: S603  a fixed command
        command, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 2" in done.stdout


@pytest.mark.nightly
@pytest.mark.usefixtures("go")
def test_types_need_no_cast_and_programs_are_tested_with_mocks_in_go(
    tmp_path: Path,
) -> None:
    (tmp_path / "main.go").write_text(example("go"))
    for package in (MOCKED.with_name("types"), EXAMPLES / "guard-go", tmp_path):
        language_programs.go_package(package, EXAMPLES / "go")
    language_programs.go_package(MOCKED, EXAMPLES / "go", "test -vet=off")


def test_a_python_program_may_use_the_generated_sdk_beside_ours(app: App) -> None:
    language_programs.python_program(PYTHON)
    (app.stack.project / "__main__.py").write_text(PYTHON)
    for each in language_programs.python_sdk().iterdir():
        (app.stack.project / each.name).symlink_to(each)
    app.run("config", "set", "databaseId", DATABASE)
    app.up()
    (version,) = app.started()
    outputs = app.stack.outputs()
    assert outputs == {
        **outputs,
        "snapshot": version,
        "named": version,
        "ours": "postgres",
        "downloadUrl": "[secret]",
        "earlier": [],
    }
    assert len(list(app.stack.project.rglob("*.zip"))) == 2
    app.forget_requests()
    assert "4 unchanged" in app.up()
    assert app.posts() == []
    (earlier,) = app.stack.outputs(show_secrets=True)["earlier"]
    assert earlier["versionId"] == version
    assert "Signature=" not in str(earlier)


NAMES = {
    "typescript": ("nodejs", "package.json", r'^    "name": "(.+)"'),
    "go": ("go", "go.mod", r"^module (\S+)"),
    "python": ("python", "pyproject.toml", r'name = "(.+)"'),
}
"""By language: what Pulumi calls it, and the file of an SDK that has its name."""


@pytest.mark.parametrize(
    "language",
    [
        "typescript",
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ("go", "python")),
    ],
)
def test_one_command_gives_the_sdk_that_the_printed_line_imports(
    app: App, tmp_path: Path, language: str
) -> None:
    """The generators are Pulumi's own; that the SDK is added to package.json, go.mod or requirements.txt is not tested."""
    runtime, file, name = NAMES[language]
    app.be_real()
    app.environment["PATH"] = os.pathsep.join(
        [str(sdks.generator(os.environ)), app.environment["PATH"]]
    )
    command = [
        str(Path(sys.executable).with_name("squarecloud-snapshots")),
        "plugin",
        "sdk",
        language,
    ]
    for project, folder in (
        ("", runtime),
        (f"name: x\nruntime: {runtime}\n", "squarecloud"),
    ):
        work = tmp_path / folder
        work.mkdir()
        if project:
            (work / "Pulumi.yaml").write_text(project)
        done = subprocess.run(  # noqa: S603  ours
            command,
            cwd=work,
            env=app.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        line = done.stdout.splitlines()[-1]
        assert line == Identity().imports()[language]
        (found,) = set(
            re.findall(name, (work / "sdks" / folder / file).read_text(), re.MULTILINE)
        )
        assert found in line
