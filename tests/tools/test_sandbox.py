import json
import os
import sys
from pathlib import Path

import pytest

from tools.engine import ensure
from tools.sandbox import Emulator, Failed, Stack

PROGRAM = """
import os, sys, pulumi
config = pulumi.Config()
pulumi.export("python", sys.prefix)
pulumi.export("plain", config.require("plain"))
pulumi.export("hidden", pulumi.Output.secret("not for everyone"))
pulumi.export("key", os.environ.get("SQUARECLOUD_API_KEY"))
"""


def test_emulator_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="the emulator did not start") as failure:
        Emulator("--no-such-option", log=tmp_path / "log")
    assert (tmp_path / "log").read_text() in str(failure.value)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("SQUARECLOUD_API_KEY", "the user's own")
    monkeypatch.setenv("PULUMI_STACK", "the-users-own")
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: sandbox\nruntime: python\n")
    (project / "__main__.py").write_text(PROGRAM)
    return Stack(tmp_path, project, ensure(os.environ), {"EXTRA": "1"})


@pytest.mark.engine
def test_program_runs_in_this_environment_and_touches_nothing_of_the_user(stack: Stack, tmp_path: Path) -> None:
    stack.run("stack", "init", "dev")
    stack.run("config", "set", "plain", "text")
    stack.run("up", "--yes")
    outputs = stack.outputs()
    assert Path(outputs["python"]) == Path(sys.prefix)
    assert outputs == {"python": sys.prefix, "plain": "text", "hidden": "[secret]"}
    assert stack.outputs(show_secrets=True)["hidden"] == "not for everyone"
    assert [resource["type"] for resource in stack.resources()] == ["pulumi:pulumi:Stack"]
    assert "not for everyone" not in json.dumps(stack.export())
    assert (tmp_path / "backend" / ".pulumi").is_dir()


@pytest.mark.engine
def test_failed_command_shows_what_pulumi_said(stack: Stack) -> None:
    stack.run("stack", "init", "dev")
    with pytest.raises(Failed, match="Missing required configuration variable 'sandbox:plain'"):
        stack.run("up", "--yes")
    assert stack.run("up", "--yes", check=False).returncode


@pytest.mark.engine
def test_started_command_writes_to_its_file(stack: Stack, tmp_path: Path) -> None:
    process = stack.start("version", output=tmp_path / "output")
    assert process.wait(30) == 0
    assert (tmp_path / "output").read_text().startswith("v3.")
