"""The container image: unprivileged, of locked libraries, with a list of what is in it.

Its steps are played without a builder.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import dist, lock

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
WHEN = 1_700_000_000


def instructions(name: str) -> list[str]:
    """What follows each instruction of a kind, in one line."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [
        " ".join(each.split())
        for each in re.findall(rf"^{name} (.*)", joined, re.MULTILINE)
    ]


def test_the_image_runs_as_no_user_of_the_host_and_keeps_its_state() -> None:
    (user,) = instructions("USER")
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user), (
        "a number, so that Kubernetes can tell"
    )
    assert instructions("VOLUME") == ["/state"]
    assert f"--owner {user.partition(':')[0]} " in instructions("RUN")[1]
    (entry,) = instructions("ENTRYPOINT")
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "scripts"
    ]
    assert json.loads(entry)[0] in scripts
    assert DOCKERFILE.rindex("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")


def test_everything_in_the_image_is_locked() -> None:
    assert all(each.startswith("${BASE}") for each in instructions("FROM"))
    (base,) = instructions("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim(@sha256:[0-9a-f]{64})?", base)
    installs = [
        each for each in instructions("RUN")[0].split(" && ") if "pip install" in each
    ]
    assert all("--no-deps" in each for each in installs)
    assert "--require-hashes --requirement /build/requirements-image.txt" in installs[0]
    locked = set(
        dist.LOCKED.findall((lock.LOCKS / "requirements-image.txt").read_text())
    )
    assert locked <= set(
        dist.LOCKED.findall((lock.LOCKS / "requirements.txt").read_text())
    )


def test_the_list_of_what_is_in_the_image_is_that_of_the_lock(tmp_path: Path) -> None:
    (made,) = dist.image({**os.environ, "SOURCE_DATE_EPOCH": str(WHEN)}, tmp_path)
    listed = json.loads(made.read_text())
    names = {(each["name"], each["version"]) for each in listed["components"]}
    assert names == set(dist.LOCKED.findall(dist.IMAGE_LOCK.read_text()))
    assert {"pulumi", "click", "obstore", "pyrage"} <= {name for name, _ in names}
    assert dist.image_materials(dist.IMAGE_LOCK.read_text(), WHEN) == made.read_text()
    (pattern,) = re.findall(r"^COPY dist/(squarecloud\S+)", DOCKERFILE, re.MULTILINE)
    assert made.match(pattern)


@pytest.mark.nightly
def test_the_steps_of_the_image_lead_to_a_command_that_runs(tmp_path: Path) -> None:
    """On this machine's Python, in folders of the test in place of those of the image."""
    build, opt, state = (tmp_path / name for name in ("build", "opt", "state"))
    build.mkdir()
    shutil.copy(dist.IMAGE_LOCK, build)
    packages = dist.packages(os.environ, tmp_path / "dist")
    (wheel,) = [each for each in packages if each.suffix == ".whl"]
    shutil.copy(wheel, build)
    places = {
        "/build/": f"{build}/",
        "/opt/": f"{opt}/",
        "python3 ": f"{sys.executable} ",
    }
    step = instructions("RUN")[0]
    for name, place in places.items():
        step = step.replace(name, place)
    subprocess.run(["sh", "-euc", step], check=True)  # noqa: S603, S607  the image's own step
    clean = {
        "PATH": f"{opt}/squarecloud/bin",
        "HOME": str(state),
        "XDG_STATE_HOME": str(state),
    }
    command = opt / "squarecloud" / "bin" / "squarecloud-snapshots"
    for words, expected in (
        (["--version"], "squarecloud-snapshots"),
        (["explain", "key-refused"], "# KeyRefused"),
        (["--help"], "Exit codes: 0 done"),
    ):
        shown = subprocess.check_output([command, *words], env=clean, text=True)  # noqa: S603
        assert expected in shown
    assert not (opt / "squarecloud" / "bin" / "pip").exists()
