"""What a release consists of: `python -m tools.dist` makes it in dist/.

With `plugin` only the plugin's archive for this machine.

- the wheel and the source distribution, bit for bit the same wherever and whenever they are made of
  the same sources;
- the plugin's archive for this machine, which needs no Python, and a list of what is in it
  (CycloneDX); the same bytes from the same sources, Python and libraries, in whatever folder, and
  whether pip or uv has installed them;
- the generated SDKs, in one zip;
- a list of what is in the container image (CycloneDX), which the Dockerfile copies;
- the SHA-256 of each file.

All times in these files are that of the last commit, or SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from pulumi_snapshots.plugin.description.identity import NPM_NAME
from pulumi_snapshots.plugin.description.schema import schema
from tools import frozen_plugin, sdks
from tools.engine import Closed, exit_code
from tools.frozen_plugin import DISTRIBUTION, archive_name, needed, say, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import Distribution

    from tools.engine import Environment

PROJECT = Path(__file__).resolve().parent.parent
DIST = PROJECT / "dist"
SUMS = "SHA256SUMS"
IMAGE_LOCK = PROJECT / "locks" / "requirements-image.txt"
LOCKED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
"""A name and a version in a lock file."""
COMPARE = (
    f"Compare with another build of the same commit: cd {DIST.name} && sha256sum --check "
    f"OTHER/{SUMS}"
)
"""The last line: the files of another machine, another folder or another installer have the same
bytes.
"""
FIRST_MOMENT = 1580601600
"""2020-02-02, which the build backend takes too: a zip has no times before 1980."""
BUILD_SECONDS = 120.0
LONGEST_NAME = 60
"""Characters of a licence's name; some packages give its whole text there."""


def moment(environment: Environment) -> int:
    """The time of what is made, as seconds since 1970."""
    given = environment.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    try:
        told = subprocess.run(
            ["git", "log", "-1", "--format=%ct"],  # noqa: S607
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # no clone
        return FIRST_MOMENT
    return int(told.stdout or FIRST_MOMENT)


def packages(
    environment: Environment, into: Path, sources: Path = PROJECT
) -> list[Path]:
    """Make the wheel and the source distribution; Closed if they cannot be built."""
    own = {**environment, "SOURCE_DATE_EPOCH": str(moment(environment))}
    done = subprocess.run(  # noqa: S603 - a fixed command, no shell
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--sdist",
            "--outdir",
            into,
            sources,
        ],
        env=own,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if done.returncode:
        raise Closed(
            "\n  ".join(
                [
                    "the package cannot be built:",
                    *done.stderr.strip().splitlines()[-15:],
                ]
            )
        )
    return sorted(into.glob(f"pulumi_snapshots-{version()}[-.]*"))


def plugin(environment: Environment, into: Path) -> list[Path]:
    """Make the plugin's archive for this machine, and the list of what is in it.

    Closed if it cannot be made here.
    """
    archive = frozen_plugin.make(environment, into, moment=moment(environment))
    listed = into / f"{archive.name.removesuffix('.tar.gz')}.cdx.json"
    listed.write_text(bill_of_materials(moment(environment)))
    return [archive, listed]


def bill_of_materials(at: int) -> str:
    """What is in the plugin's archive for this machine, as CycloneDX.

    Raises:
        Closed: The list is not what the format asks for.
    """
    own = _component(distribution(DISTRIBUTION), ComponentType.APPLICATION)
    bom = _bill_of(own, archive_name(), at)
    parts = {
        frozen_plugin.plain(each.metadata["Name"]): _component(each)
        for each in needed()
    }
    openssl = ssl.OPENSSL_VERSION.split()[1]
    parts["python"] = _platform(
        "cpython", ".".join(map(str, sys.version_info[:3])), "PSF-2.0"
    )
    parts["openssl"] = _platform("openssl", openssl, "Apache-2.0")
    for part in parts.values():
        bom.components.add(part)
    for name, uses in frozen_plugin.needs().items():
        bom.register_dependency(
            own if name == DISTRIBUTION else parts[name],
            [parts[one] for one in sorted(uses)],
        )
    return _text_of(bom, "plugin")


def _bill_of(own: Component, name: str, at: int) -> Bom:
    """A list of what is in a part of the release, still empty; the name identifies the part."""
    bom = Bom()
    bom.metadata.component = own
    bom.metadata.timestamp = datetime.fromtimestamp(at, UTC)
    bom.serial_number = uuid5(NAMESPACE_URL, f"{name} {at}")
    return bom


def _text_of(bom: Bom, what: str) -> str:
    """The list of what is in something, as CycloneDX.

    Raises:
        Closed: The list is not what the format asks for.
    """
    # It loads for a second, since it compiles a grammar of addresses, and those who make something
    # else need not wait for that.
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem:
        raise Closed(f"the list of what is in the {what} is wrong: {problem}")
    return text


def _platform(name: str, number: str, licence: str) -> Component:
    return Component(
        name=name,
        version=number,
        type=ComponentType.PLATFORM,
        bom_ref=f"{name}@{number}",
        purl=PackageURL("generic", None, name, number),
        licenses=[LicenseFactory().make_from_string(licence)],
    )


def _component(
    of: Distribution, kind: ComponentType = ComponentType.LIBRARY
) -> Component:
    name = of.metadata["Name"]
    stated = (
        of.metadata.get_all("License-Expression")
        or of.metadata.get_all("License")
        or []
    )
    return Component(
        name=name,
        version=of.version,
        type=kind,
        bom_ref=f"{name}@{of.version}",
        purl=PackageURL("pypi", None, frozen_plugin.plain(name), of.version),
        licenses=[
            LicenseFactory().make_from_string(each)
            for each in stated
            if len(each) < LONGEST_NAME
        ],
    )


def image(environment: Environment, into: Path) -> list[Path]:
    """Write the list of the libraries in the container image, by the lock files.

    Raises:
        Closed: The list is not what the format asks for.
    """
    listed = into / f"squarecloud-snapshots-image-{version()}.cdx.json"
    into.mkdir(parents=True, exist_ok=True)
    listed.write_text(image_materials(IMAGE_LOCK.read_text(), moment(environment)))
    return [listed]


def image_materials(locked: str, at: int) -> str:
    """What is in the image, as CycloneDX, by the text of its lock file."""
    own = _component(distribution(DISTRIBUTION), ComponentType.CONTAINER)
    bom = _bill_of(own, f"image {version()}", at)
    parts = [_locked_component(*each) for each in LOCKED.findall(locked)]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(own, parts)
    return _text_of(bom, "container image")


def _locked_component(name: str, number: str) -> Component:
    return Component(
        name=name,
        version=number,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}@{number}",
        purl=PackageURL("pypi", None, name, number),
    )


def generated_sdks(environment: Environment, into: Path) -> list[Path]:
    """Generate the SDKs, and put them into a zip; Closed if they cannot be generated."""
    made = into / f"{NPM_NAME}-sdks-{version()}.zip"
    with tempfile.TemporaryDirectory() as folder:
        sdks.generate(environment, Path(folder))
        (Path(folder) / "schema.json").write_text(json.dumps(schema(), indent=2))
        _zip(made, Path(folder), moment(environment))
    return [made]


def _zip(into: Path, folder: Path, at: int) -> None:
    when = datetime.fromtimestamp(max(at, FIRST_MOMENT), UTC)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(
                path.relative_to(folder).as_posix(), when.timetuple()[:6]
            )
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, path.read_bytes())


def sums(folder: Path) -> Path:
    """Write the SHA-256 of each file in a folder, as `sha256sum --check` reads it."""
    files = sorted(
        path for path in folder.iterdir() if path.is_file() and path.name != SUMS
    )
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in files
    ]
    (folder / SUMS).write_text("".join(lines))
    return folder / SUMS


PARTS: dict[str, Callable[[Environment, Path], list[Path]]] = {
    "image": image,
    "packages": packages,
    "plugin": plugin,
    "sdks": generated_sdks,
}


def prepare() -> None:
    """Have at hand what takes long."""
    try:
        frozen_plugin.libraries(os.environ)
    except Closed as reason:
        say(f"tests of the plugin's archive will fail: {reason}")


def main(wanted: Iterable[str]) -> int:
    """Make these parts, or all of them, and the sums.

    With `--prepare` only have at hand what takes long.
    """
    names = list(wanted)
    if names == ["--prepare"]:
        prepare()
        return 0
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        say(
            f"there is no {unknown[0]}; there are {', '.join(PARTS)}, and all of them "
            f"without a name"
        )
        return 2
    DIST.mkdir(exist_ok=True)
    return exit_code(partial(_make, names or PARTS), say)


def _make(names: Iterable[str]) -> None:
    """Make these parts and the sums, and name each file."""
    for name in names:
        for path in PARTS[name](os.environ, DIST):
            print(path.relative_to(PROJECT), f"{path.stat().st_size:,} bytes")
    print(sums(DIST).relative_to(PROJECT))
    print(COMPARE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
