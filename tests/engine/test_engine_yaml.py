"""The YAML example as it stands in its folder: another language, served by the plugin."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from tests.engine.stage import DATABASE, App, diagnostics, joined
from tests.support import language_programs
from tests.support.command_plugin import plugged
from tests.support.preloaded import commands_of, python_of
from tools import language_hosts, sdks

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "plugin.md"
SECTION = "\n## Continue in another language\n"
IN_PYTHON = f"""
snapshot = Snapshot("before-release", "{DATABASE}", triggers=["v1.2.0"])
pulumi.export("versionId", snapshot.version_id)
"""


def speak_yaml(app: App, program: str, **more: Path) -> None:
    """Have a program as the project, which finds the plugin, and more plugins."""
    host = language_hosts.YAML.ensure(os.environ)
    plugin = Path(commands_of(app.environment))
    if str(host) not in app.environment["PATH"]:
        app.environment["PATH"] = f"{host}:{app.environment['PATH']}"
    (app.stack.project / "__main__.py").unlink(missing_ok=True)
    # Where the reader has installed the plugins, this has not.
    found = [
        {"name": name, "path": str(path)}
        for name, path in {"squarecloud": plugin, **more}.items()
    ]
    (app.stack.project / "Pulumi.yaml").write_text(
        f"{program}plugins: {{providers: {json.dumps(found)}}}\n"
    )


def test_a_python_program_continues_in_yaml_without_a_snapshot(app: App) -> None:
    """As the page says, by its own program and its own commands."""
    app.program(IN_PYTHON)
    app.up()
    page = PAGE.read_text().partition(SECTION)[2]
    (program,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    list_urns, sdk, up, import_ = re.findall(
        r"^```sh\n(\S+ .*)\n```$", page, re.MULTILINE
    )
    (urn,) = re.findall(r"urn:pulumi:\S+", program)
    assert urn in app.run(*list_urns.split()[1:])
    before = app.outputs()["version_id"]

    assert app.ours(sdk).splitlines()[-1].strip() in program
    speak_yaml(app, program)
    app.forget_requests()
    assert "~ 1 updated" in app.run(*up.split()[1:], "--yes")
    assert app.stack.outputs()["versionId"] == before
    speak_yaml(app, re.sub(r"    options:\n.*\n.*\n", "", program))
    assert "2 unchanged" in app.up()
    assert app.posts() == []

    (state,) = [
        one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"
    ]
    app.run("state", "delete", state["urn"], "--yes")
    app.run(*import_.split()[1:], "--yes", "--generate-code=false", "--protect=false")
    (state,) = [
        one for one in app.resources() if one["type"] == "squarecloud:index:Snapshot"
    ]
    assert state["outputs"]["versionId"] == before


@pytest.mark.nightly
def test_a_yaml_program_is_translated_as_the_page_says(app: App) -> None:
    """By Pulumi's own converter and generators; the program compiles in strict TypeScript."""
    page = PAGE.read_text().partition(SECTION)[2]
    (program,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (convert,) = re.findall(r"`pulumi (convert .*?)`", page)
    speak_yaml(
        app,
        program.replace(
            "    options:\n", "    options:\n      customTimeouts: {create: 2h}\n"
        ),
    )
    made = (
        sdks.generator(os.environ),
        language_hosts.YAML_CONVERTER.ensure(os.environ),
    )
    app.environment["PATH"] = os.pathsep.join(
        [*map(str, made), app.environment["PATH"]]
    )
    app.run(*convert.split())
    folder = app.stack.project / convert.rpartition(" ")[2]
    text = (folder / "index.ts").read_text()
    (urn,) = re.findall(r"urn:pulumi:\S+", program)
    options = f'}}, {{\n    aliases:["{urn}"],\n    customTimeouts: {{\n        create: "2h",\n    }},\n}});'
    assert (
        f'"before-release", {{\n    databaseId: "{DATABASE}",\n    triggers: ["v1.2.0"],\n{options}'
        in text
    )
    assert (
        language_programs.typescript(folder) / folder.name / "bin" / "index.js"
    ).exists()


KEEPS = """name: app
runtime: yaml
config: {{release: {{type: string, default: a}}}}
resources:
  taken:
    type: squarecloud:Snapshot
    properties: {{databaseId: {database}, triggers: ["${{release}}"]}}
  kept:
    type: squarecloud:Archive
    properties: {{snapshot: "${{taken}}", destination: archives/}}
    options: {{ignoreChanges: [{ignored}]}}
"""


def test_ignored_changes_of_a_snapshot_keep_the_archive(app: App) -> None:
    speak_yaml(app, KEEPS.format(database=DATABASE, ignored="snapshot"))
    app.up()
    app.pass_time(600)
    printed = joined(app.preview("-c", "release=b", fails=True))
    (names,) = set(
        re.findall(
            r"If ignoreChanges names snapshot, name (\w+ and \w+) there instead",
            printed,
        )
    )
    speak_yaml(app, KEEPS.format(database=DATABASE, ignored=names.replace(" and", ",")))
    assert "replaced" in app.up("-c", "release=b")
    assert len(app.started()) == 2
    assert len(list(app.stack.project.rglob("*.zip"))) == 1


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
    app.example("guard-yaml", "yaml")
    command = plugged(app.folder, python_of(app.environment))
    program = app.stack.project / "Pulumi.yaml"
    speak_yaml(app, program.read_text(), command=command)
    app.run("config", "set", "databaseId", DATABASE)
    app.emulator.control("settings", {"restore_seconds": 0.2}, "PATCH")
    _has_nothing_to_restore_yet(app, program)
    app.up()
    app.pass_time(600)
    app.run("config", "set", "release", "v2")
    app.forget_requests()
    waits = f"1 change will wait for a snapshot of database {DATABASE}, which would be a new one"
    assert waits in app.preview()
    assert app.requests() == []
    _holds_the_migration_back_without_a_snapshot(app)
    app.mend()

    app.forget_requests()
    printed = app.up()
    (version,) = app.started()
    assert (
        f"guarded by {DATABASE}/{version}: create of Command migration"
        in diagnostics(printed)
    )
    migrations = ["create migration", "create migration", "delete migration"]
    assert _migrations(app) == migrations

    # What the README says for the way back.
    with_restore = program.read_text().replace("\noutputs:", RESTORE)
    program.write_text(
        with_restore.replace(
            "        - ${guard}\n", "        - ${guard}\n        - ${back}\n"
        )
    )
    _goes_back_with_the_old_release(app, version)
    _warns_of_a_guard_that_guards_nothing(app, program)
    _names_wrong_inputs(app, program)


def _migrations(app: App) -> list[str]:
    """What the command has done."""
    return (app.stack.project / "done").read_text().splitlines()


def _goes_back_with_the_old_release(app: App, version: str) -> None:
    """In one run: what is guarded waits for the Restore, so one snapshot is paid for."""
    app.run("config", "set", "rollback", "1")
    app.run("config", "set", "release", "v1")
    # The service refuses a snapshot for two minutes after a restore; without any pause, both could
    # have the same second.
    app.emulator.control("settings", {"restore_tail_seconds": 2}, "PATCH")
    app.pass_time(600)
    app.forget_requests()
    printed = joined(app.up())
    sent = [each["kind"] for each in app.requests() if each["accepted"]]
    assert sent == ["restore", "create"]
    assert app.restores() == [version]
    assert "earlier run" not in printed
    (last,) = app.started()
    assert f"guarded by {DATABASE}/{last}: create of Command migration" in printed


def _has_nothing_to_restore_yet(app: App, program: Path) -> None:
    whole = program.read_text()
    program.write_text(whole.replace("\noutputs:", RESTORE))
    told = app.up("--target", "**back", "--target", "**guard", fails=True)
    assert "versionId" in diagnostics(told), "there is no snapshot to restore"
    assert not (app.stack.project / "done").exists()
    program.write_text(whole)


def _holds_the_migration_back_without_a_snapshot(app: App) -> None:
    """An account whose quota is used up says so from then on."""
    app.fault("create", status=429, code="DAILY_SNAPSHOTS_LIMIT_REACHED")
    held = "The create of Command migration was held back, since no snapshot guards it: The plan's daily"
    assert held in joined(app.up(fails=True))
    assert _migrations(app) == ["create migration"]
    assert (
        "which would be a new one; the daily quota is used up until about"
        in app.preview()
    )


def _warns_of_a_guard_that_guards_nothing(app: App, program: Path) -> None:
    """What does not depend on the guard is registered before it; and nothing may have the name that it wants."""
    whole = program.read_text()
    none = "Guard guard guards no resource{}: Pulumi has registered none after it."
    program.write_text(
        re.sub(r"    options:\n      dependsOn:.*\n(?:        - .*\n)+", "", whole)
    )
    assert none.format("") in joined(app.preview())
    program.write_text(
        whole.replace(
            "      before: [c", "      only: [migration, shop]\n      before: [c"
        )
    )
    assert none.format(" named shop") in joined(app.preview())
    program.write_text(whole)


def _names_wrong_inputs(app: App, program: Path) -> None:
    wrong = program.read_text().replace(
        "before: [create, update, delete]", "before: [creation]"
    )
    program.write_text(wrong.replace("rollback: ${rollback}", "reuseWithin: soon"))
    printed = joined(app.preview(fails=True))
    assert (
        "before must be a list of 'create', 'update', 'delete', not 'creation'"
        in printed
    )
    assert "reuseWithin must be" in printed


EARLY = """name: app
runtime: yaml
config:
  release: {type: string, default: a}
resources:
  net:
    type: command:local:Command
    properties: {create: make the net, triggers: ["${release}"]}
    options: {deleteBeforeReplace: trueAFTER_GUARD}
  one: {type: "command:local:Command", properties: {create: "1"}}
  two: {type: "command:local:Command", properties: {create: "2"}, options: {dependsOn: ["${one}"]}}
  guard:
    type: squarecloud:Guard
    properties: {databaseId: DATABASE}
    options: {dependsOn: ["${two}"]}
  app:
    type: command:local:Command
    properties: {create: use the net, triggers: ["${net.triggers[0]}"]}
    options: {dependsOn: ["${guard}"]}
"""
"""Replacing `net` deletes `app` first. The guard comes later for certain, as it depends on others."""
OF_NET = "${net.create}"
"""The guard's database comes from `net`."""


@pytest.mark.parametrize("database", [DATABASE, OF_NET], ids=["own", "of-net"])
@pytest.mark.parametrize("setting", ["on", "off"])
def test_the_way_that_the_engine_s_error_names_deletes_in_one_up(
    app: App, database: str, setting: str
) -> None:
    program = EARLY.replace("make the net", DATABASE)
    command = plugged(app.folder, python_of(app.environment))

    def speak(known: str, after_guard: str) -> None:
        text = program.replace("databaseId: DATABASE", f'databaseId: "{known}"')
        speak_yaml(app, text.replace("AFTER_GUARD", after_guard), command=command)

    speak(database, "")
    first = joined(app.preview())
    note = "Pulumi registers net before guard guard, and app depends on net"
    assert (note in first) is (database == DATABASE), (
        "what it comes from cannot depend on it"
    )
    app.up()
    app.done()
    app.environment["SQUARECLOUD_GUARD"] = setting
    told = joined(app.up("-c", "release=b", fails=True))
    assert "let what is replaced depend on the guard" in told
    assert "give the guard the id as text" in told
    assert app.done() == []
    assert app.posts() == []
    speak(DATABASE, ', dependsOn: ["${guard}"]')
    assert note not in joined(app.preview())
    printed = joined(diagnostics(app.up()))
    assert app.done() == ["delete app", "delete net", "create net", "create app"]
    if setting == "off":
        assert "the delete of Command app has no snapshot, since" in printed
        assert app.started() == []
    else:
        (version,) = app.started()
        assert f"guarded by {DATABASE}/{version}: delete of Command app" in printed


NO_SNAPSHOT = "the first run with this guard (it guards deletes from now on) has no"


@pytest.mark.parametrize("database", [DATABASE, OF_NET], ids=["own", "of-net"])
def test_an_unchanged_program_passes_without_a_snapshot_as_the_engine_s_error_says(
    app: App, database: str
) -> None:
    program = EARLY.replace("make the net", DATABASE).replace("AFTER_GUARD", "")
    command = plugged(app.folder, python_of(app.environment))
    text = program.replace("databaseId: DATABASE", f'databaseId: "{database}"')
    speak_yaml(app, text, command=command)
    app.up()
    app.done()
    app.environment["SQUARECLOUD_GUARD"] = "off"
    told = joined(app.up("-c", "release=b", fails=True))
    said = re.search(r"without a snapshot: SQUARECLOUD_GUARD=off pulumi (.+?), ", told)
    assert said is not None
    assert ", then SQUARECLOUD_GUARD=off pulumi up)" in told
    command_line = shlex.split(said[1].replace("NAME", "net"))
    app.run(*command_line, "--yes", "--skip-preview")
    assert app.done() == []
    printed = joined(diagnostics(app.up()))
    assert app.done() == ["delete app", "delete net", "create net", "create app"]
    assert f"{NO_SNAPSHOT} snapshot, since squarecloud:guard is off" in printed
    assert app.posts() == []
    del app.environment["SQUARECLOUD_GUARD"]
    app.up()
    assert len(app.started()) == 1, "it hears of deletes again, as a new one"
