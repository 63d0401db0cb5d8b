"""What a release consists of: the same files from the same sources, and lists that say what is in them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import dist, engine, frozen_plugin, rebuild
from tools.engine import Closed

WHEN = "1700000000"
SOURCES = ("pulumi_snapshots", "docs/errors", "examples/tour", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore")  # fmt: skip
"""What the wheel is made from, and some of what the source distribution holds."""


def copy(into: Path, *, others_may_read: bool) -> Path:
    """The sources in another folder, with other times and rights."""
    for name in SOURCES:
        source = dist.PROJECT / name
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source,
                into / name,
                copy_function=shutil.copyfile,
                ignore=lambda *_: ["__pycache__"],
            )
        else:
            shutil.copyfile(source, into / name)
    for path in into.rglob("*"):
        if path.is_file():
            os.utime(path, (2e9, 2e9) if others_may_read else (1e9, 1e9))
            path.chmod(0o644 if others_may_read else 0o600)
    return into


def test_packages_are_the_same_wherever_and_whenever_they_are_built(
    tmp_path: Path,
) -> None:
    made: list[dict[str, str]] = []
    for number, (place, zone) in enumerate(
        (("here", "UTC"), ("another place", "Asia/Tokyo"))
    ):
        sources = copy(tmp_path / place, others_may_read=not number)
        environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": WHEN,
            "TZ": zone,
            "PYTHONHASHSEED": str(number),
        }
        files = dist.packages(environment, tmp_path / f"out-{number}", sources)
        made.append(
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        )
    assert len(made[0]) == 2
    assert made[0] == made[1]

    (wheel,) = (tmp_path / "out-0").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert any(
            each.endswith(".dist-info/licenses/LICENSE") for each in packed.namelist()
        )
    (source,) = (tmp_path / "out-0").glob("*.tar.gz")
    with tarfile.open(source) as unpacked:
        assert f"{source.name.removesuffix('.tar.gz')}/LICENSE" in unpacked.getnames()


def test_the_archive_is_the_same_by_whatever_its_libraries_were_installed(
    tmp_path: Path,
) -> None:
    """pip and uv write other files about themselves, and PyInstaller's zip has an order of its own at each run."""
    made = []
    for number, installer in enumerate(("pip", "uv")):
        about = tmp_path / installer / "lib-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Name: lib")
        (about / "RECORD").write_text(f"INSTALLER,{installer}")
        (about / "INSTALLER").write_text(installer)
        if number:
            (about / "uv_cache.json").write_text("{}")
        with zipfile.ZipFile(tmp_path / installer / "base_library.zip", "w") as base:
            for name in ("a.pyc", "b.pyc")[:: 1 - 2 * number]:
                base.writestr(zipfile.ZipInfo(name), name)
        folder = tmp_path / installer
        files = {
            path.relative_to(folder): frozen_plugin._same(path)
            for path in frozen_plugin._files(folder)
        }
        made.append(frozen_plugin._packed(files.items(), 0, ends=True))
        assert {path.name for path in files} == {"METADATA", "base_library.zip"}
    assert made[0] == made[1]


def test_the_list_of_what_is_in_the_plugin_is_complete() -> None:
    made = dist.bill_of_materials(int(WHEN))
    listed = json.loads(made)
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "pulumi-snapshots"
    named = {frozen_plugin.plain(each["name"]) for each in listed["components"]}
    packages = {
        "pulumi",
        "grpcio",
        "protobuf",
        "httpx",
        "pydantic-core",
        "obstore",
        "pyrage",
        "cpython",
        "openssl",
    }
    assert named >= packages
    assert not named & {
        "pytest",
        "moto",
        "pyinstaller",
        "click",
        "debugpy",
        "pulumi-snapshots",
    }
    references = {each["bom-ref"] for each in listed["components"]}
    own = listed["metadata"]["component"]["bom-ref"]
    uses = {each["ref"]: each.get("dependsOn", []) for each in listed["dependencies"]}
    assert set(uses) == references | {own}
    reached = set[str]()
    waiting = [own]
    while waiting:
        reached.add(one := waiting.pop())
        waiting += [each for each in uses[one] if each not in reached]
    assert {
        frozen_plugin.plain(each.partition("@")[0]) for each in references - reached
    } == {
        "cpython",
        "openssl",
    }
    assert dist.bill_of_materials(int(WHEN)) == made


def test_the_sums_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "one.whl").write_bytes(b"one")
    (tmp_path / "two.zip").write_bytes(b"two")
    for _ in range(2):  # the second time the sums are there already
        assert dist.sums(tmp_path).name == "SHA256SUMS"
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    told = subprocess.run(  # noqa: S603
        check, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert told == "one.whl: OK\ntwo.zip: OK\n"
    (tmp_path / "two.zip").write_bytes(b"three")
    assert subprocess.run(  # noqa: S603
        check, cwd=tmp_path, capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "arm64", "darwin-arm64"),
    ],
)
def test_the_archive_has_the_name_that_pulumi_asks_for(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, name: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert (
        frozen_plugin.archive_name()
        == f"pulumi-resource-squarecloud-v{frozen_plugin.version()}-{name}.tar.gz"
    )
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(Closed, match="no name for a machine of the kind s390x"):
        frozen_plugin.archive_name()


ANOTHER_DATE = """
import time

real, local, universal = time.time, time.localtime, time.gmtime
time.time = lambda: real() + {seconds}
time.time_ns = lambda: int(time.time() * 1e9)
time.localtime = lambda at=None: local(time.time() if at is None else at)
time.gmtime = lambda at=None: universal(time.time() if at is None else at)
"""
"""What Python runs before all else, to live in another year."""


@pytest.mark.nightly
@pytest.mark.engine
def test_a_whole_release_is_the_same_from_two_folders_and_at_two_dates(
    tmp_path: Path,
) -> None:
    """All is made again for the second one, but the engine and the generator: no release has them."""
    made = []
    for number, (place, zone) in enumerate(
        (("here", "UTC"), ("another place", "Asia/Tokyo"))
    ):
        sources = tmp_path / place
        date = tmp_path / f"date-{number}"
        clone = ["git", "clone", "--quiet", str(dist.PROJECT), str(sources)]
        subprocess.run(clone, check=True)  # noqa: S603
        for path in sources.rglob("*"):
            os.utime(path, (1e9 * (number + 1),) * 2)
        date.mkdir()
        years = number * 3 * 365 * 86_400
        (date / "sitecustomize.py").write_text(ANOTHER_DATE.format(seconds=years))
        cache = tmp_path / f"cache-{number}" / "pulumi-snapshots"
        cache.mkdir(parents=True)
        for kept in engine.cache(os.environ).glob("*"):
            if kept.name.startswith(("engine-", "sdkgen-")) and kept.is_dir():
                (cache / kept.name).symlink_to(kept)
        environment = {
            **os.environ,
            "PYTHONPATH": str(date),
            "PYTHONHASHSEED": str(number),
            "XDG_CACHE_HOME": str(cache.parent),
            "TZ": zone,
        }
        command = [sys.executable, "-m", "tools.dist"]
        done = subprocess.run(  # noqa: S603
            command,
            cwd=sources,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        made.append(rebuild.read_sums((sources / "dist" / dist.SUMS).read_text()))
    assert len(made[0]) >= 5
    assert set(rebuild.compare(*made).values()) == {rebuild.SAME}
