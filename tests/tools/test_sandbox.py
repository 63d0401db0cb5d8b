import json
import os
import sys
import urllib.request
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


def test_emulator_is_reached_through_its_environment_and_controlled(tmp_path: Path) -> None:
    with Emulator("--database", "a1:postgres", log=tmp_path / "log") as emulator:
        assert emulator.sql("a1", "CREATE TABLE t (n)", "INSERT INTO t VALUES (7)", "SELECT n FROM t")[-1] == [[7]]
        request = urllib.request.Request(f"{emulator.environment['SQUARECLOUD_API_URL']}/users/me")  # noqa: S310
        request.add_header("Authorization", emulator.environment["SQUARECLOUD_API_KEY"])
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            assert response.status == 200
        assert [entry["kind"] for entry in emulator.journal()] == ["me"]
        emulator.control("journal", method="DELETE")
        assert emulator.journal() == []
    assert emulator.process.poll() is not None


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
def test_failed_command_shows_what_pulumi_said(stack: Stack, forks: dict[str, str]) -> None:
    stack.environment |= forks
    stack.run("stack", "init", "dev")
    with pytest.raises(Failed, match="Missing required configuration variable 'sandbox:plain'"):
        stack.run("up", "--yes")
    assert stack.run("up", "--yes", check=False).returncode


@pytest.mark.engine
def test_started_command_writes_to_its_file(stack: Stack, tmp_path: Path) -> None:
    process = stack.start("version", output=tmp_path / "output")
    assert process.wait(30) == 0
    assert (tmp_path / "output").read_text().startswith("v3.")
