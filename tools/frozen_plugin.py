"""The plugin as an archive that `pulumi plugin install` takes.

The archive needs no Python on the machine where it runs.

PyInstaller freezes Python and the libraries once, since that takes a quarter of a minute: the
result is kept in the user's cache until a library, or what this package imports, changes. The
package itself lies beside them as compiled files, so that an archive of today's code is made in a
second.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.util
import io
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import partial
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
)
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pulumi_snapshots.plugin.description.schema import PACKED_TOUR as PACKED_EXAMPLES
from pulumi_snapshots.plugin.description.schema import TOUR_IN_REPOSITORY
from tools import engine
from tools.engine import Closed, kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tools.engine import Environment

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "pulumi_snapshots"
DISTRIBUTION = "pulumi-snapshots"
PROGRAM = "pulumi-resource-squarecloud"
EXTRAS = ("archive", "drill", "encrypt")
"""What the plugin can use of this package's extras."""
OTHER_FRONT_ENDS = ("cli", "dynamic", "probe")
"""Parts of the package that the plugin does not load."""
BY_NAME = (
    "anyio._backends._asyncio",
    *("obstore", "obstore.auth", "obstore.exceptions", "obstore.store"),
    *("psycopg_binary", "pyrage"),
)
"""Modules that are imported by a name in a variable."""
LEFT_OUT = (
    PACKAGE.name,  # lies beside
    "google.auth",  # shares its folder with a library that is needed
    *(
        "curses",
        "doctest",
        "lib2to3",
        "pydoc",
        "readline",
        "test",
        "tkinter",
        "unittest",
    ),
)
"""Modules that libraries can use and the plugin does not."""
UNUSED = frozenset({"debugpy"})
"""What libraries ask for and the plugin does not use."""
OF_INSTALLER = frozenset(
    {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}
)
"""Files of a distribution's metadata that say how it was installed here, by pip or uv, and where.
"""
ENTRY = """\
from pulumi_snapshots.plugin.serve import main
main()
def everything():
    {imports}
"""
"""What PyInstaller reads: the program, and what it may import, in a function that is never called.
"""
LIBRARIES = "_internal"
"""PyInstaller's folder beside the program."""
PACKED = "packed.tar.gz"
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""As Go calls them, and so Pulumi."""
FREEZE_SECONDS = 900.0
EPOCH = "1580601600"
"""The time of what is frozen, as seconds since 1970: it does not change with the commit."""
say = partial(engine.say, who="dist")


def version() -> str:
    """The package's."""
    return distribution(DISTRIBUTION).version


def archive_name() -> str:
    """What Pulumi calls the archive for this machine; it downloads it by this name.

    Raises:
        Closed: Pulumi has no name for this machine.
    """
    machine = platform.machine().lower()
    if machine not in MACHINES:
        raise Closed(f"Pulumi has no name for a machine of the kind {machine}")
    return (
        f"{PROGRAM}-v{version()}-{platform.system().lower()}-{MACHINES[machine]}.tar.gz"
    )


def make(environment: Environment, into: Path, *, moment: int) -> Path:
    """Make the archive for this machine.

    Args:
        environment: the caller's.
        into: the folder for it.
        moment: the time of all files in it, as seconds since 1970.

    Raises:
        Closed: It cannot be made here.
    """
    archive = into / archive_name()
    frozen = libraries(environment)
    into.mkdir(parents=True, exist_ok=True)
    with archive.open("wb") as file:
        # A gzip file may have several parts, one after the other; the first is what is kept.
        with (frozen / PACKED).open("rb") as packed:
            shutil.copyfileobj(packed, file)
        file.write(_compressed(_packed(_own_files(), moment, ends=True)))
    return archive


# What is kept


def libraries(environment: Environment) -> Path:
    """The folder with Python and the libraries, frozen if it is missing.

    Closed if they cannot be frozen here.
    """
    parts = (
        Path(__file__).read_text(),
        sys.version,
        *imported(),
        *sorted(
            f"{each.metadata['Name']} {each.version}"
            for each in (*needed(), *_freezer())
        ),
    )
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return kept(environment, f"frozen-{digest}", _freeze)


def imported() -> list[str]:
    """The statements that import what the plugin may need from outside of the package."""
    found = set(BY_NAME)
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found |= _modules_of(node)
    own = {PACKAGE.name, "__future__"}
    return sorted(
        f"import {each}" for each in found if each.partition(".")[0] not in own
    )


def _modules_of(node: ast.AST) -> set[str]:
    """Return the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return {each.name for each in node.names}
    if not isinstance(node, ast.ImportFrom) or not node.module:
        return set()
    module = node.module
    below = {
        f"{module}.{each.name}" for each in node.names if _is_module(module, each.name)
    }
    return {module} | below


def _is_module(package: str, name: str) -> bool:
    """Whether this is a module of a package outside of this one, and no class or function.

    Nothing is loaded to find out.
    """
    top, *below = package.split(".")
    found = importlib.util.find_spec(top)
    folders = (found.submodule_search_locations if found else None) or []
    return any(
        list(Path(folder, *below).glob(f"{name}.*"))
        or Path(folder, *below, name).is_dir()
        for folder in folders
    )


def sources() -> list[Path]:
    """The package's files that the plugin may load."""
    every = sorted(PACKAGE.rglob("*.py"))
    return [
        file
        for file in every
        if file.relative_to(PACKAGE).parts[0] not in OTHER_FRONT_ENDS
    ]


def needed() -> list[Distribution]:
    """What this package needs, and what that needs, as it is installed here."""
    return [distribution(name) for name in sorted(needs()) if name != DISTRIBUTION]


def needs() -> dict[str, set[str]]:
    """The names of what this package, and each distribution that it needs, asks for."""
    found: dict[str, set[str]] = {}
    asked = set[tuple[str, frozenset[str]]]()
    waiting = [Requirement(f"{DISTRIBUTION}[{','.join(EXTRAS)}]")]
    while waiting:
        wanted = waiting.pop()
        name = plain(wanted.name)
        extras = frozenset({"", *wanted.extras})
        if (name, extras) not in asked:
            asked.add((name, extras))
            more = _requirements(distribution(name), extras)
            found.setdefault(name, set()).update(plain(each.name) for each in more)
            waiting += more
    return found


def plain(name: str) -> str:
    """A distribution's name as indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(one: Distribution, extras: Iterable[str]) -> list[Requirement]:
    every = map(Requirement, one.requires or [])
    return [
        each
        for each in every
        if plain(each.name) not in UNUSED
        and (
            not each.marker
            or any(each.marker.evaluate({"extra": name}) for name in extras)
        )
    ]


def _not_needed() -> list[str]:
    """Return the modules of everything else that is installed here.

    A library may use what the plugin does not need.
    """
    kept = set(needs())
    return sorted(
        name
        for name, owners in packages_distributions().items()
        if not kept & set(map(plain, owners))
    )


def _freezer() -> Iterator[Distribution]:
    for name in ("pyinstaller", "pyinstaller-hooks-contrib"):
        try:
            yield distribution(name)
        except PackageNotFoundError:
            raise Closed(f"no {name} in this environment: make environment") from None


def _freeze(into: Path, environment: Environment) -> None:
    """Freeze, and pack what comes out."""
    say("freezing Python and the libraries: half a minute, once")
    work = into / "work"
    work.mkdir()
    entry = work / f"{PROGRAM}.py"
    entry.write_text(ENTRY.format(imports="\n    ".join(imported())))
    folders = [
        f"--distpath={work / 'made'}",
        f"--workpath={work / 'build'}",
        f"--specpath={work}",
    ]
    options = [f"--exclude-module={name}" for name in (*LEFT_OUT, *_not_needed())]
    fixed = ("--noconfirm", "--log-level=ERROR", "--console", "--strip")
    # Almost all that it makes stays until its end: looking for garbage would take a seventh of its
    # time.
    quickly = "import gc; gc.disable(); from PyInstaller.__main__ import run; run()"
    command = [sys.executable, "-c", quickly, *fixed, *folders, *options]
    own = {
        **environment,
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": EPOCH,
        "PYINSTALLER_CONFIG_DIR": str(work / "config"),
    }
    done = subprocess.run(  # noqa: S603 - a fixed command, no shell
        [*command, entry],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env=own,
        timeout=FREEZE_SECONDS,
    )
    if done.returncode:
        raise Closed(
            "\n  ".join(
                ["PyInstaller failed:", *done.stderr.strip().splitlines()[-15:]]
            )
        )
    made = work / "made" / PROGRAM
    files = {path.relative_to(made): _same(path) for path in _files(made)}
    files |= {Path("licenses") / name: path for name, path in _licences()}
    (into / PACKED).write_bytes(
        _compressed(_packed(sorted(files.items()), 0, ends=False))
    )
    shutil.rmtree(work)


def _files(folder: Path) -> list[Path]:
    every = sorted(
        path for path in folder.rglob("*") if path.is_symlink() or path.is_file()
    )
    return [
        path
        for path in every
        if not (path.parent.suffix == ".dist-info" and path.name in OF_INSTALLER)
    ]


def _same(path: Path) -> Path | bytes:
    """A file, or a zip whose members have no order of their own, in the order of their names."""
    if path.suffix != ".zip":
        return path
    sorted_ = io.BytesIO()
    with zipfile.ZipFile(path) as members, zipfile.ZipFile(sorted_, "w") as into:
        for each in sorted(members.infolist(), key=lambda one: one.filename):
            into.writestr(each, members.read(each))
    return sorted_.getvalue()


def _licences() -> Iterator[tuple[Path, Path]]:
    """The licences of what is in the archive: they are handed on with it."""
    for each in needed():
        for file in each.files or []:
            if re.search(
                r"(?i)(^|/)(licen[cs]e|copying|notice)[^/]*$", str(file)
            ) and ".dist-info/" in str(file):
                yield (
                    Path(each.metadata["Name"]) / Path(str(file)).name,
                    Path(str(each.locate_file(file))),
                )


# Packing


def _own_files() -> Iterator[tuple[Path, bytes]]:
    """The package, compiled, with its metadata and its licence."""
    with tempfile.TemporaryDirectory() as folder:
        for file in sources():
            name = file.relative_to(PROJECT)
            compiled = Path(folder) / "one.pyc"
            # Without the places and times of this machine.
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(
                str(file),
                str(compiled),
                dfile=str(name),
                doraise=True,
                invalidation_mode=mode,
            )
            yield Path(LIBRARIES) / name.with_suffix(".pyc"), compiled.read_bytes()
    for example in ("Pulumi.yaml", "languages.md"):  # in the schema
        yield (
            Path(LIBRARIES) / (PACKED_EXAMPLES / example).relative_to(PROJECT),
            (TOUR_IN_REPOSITORY / example).read_bytes(),
        )
    about = distribution(DISTRIBUTION).read_text("METADATA") or ""
    yield (
        Path(LIBRARIES) / f"pulumi_snapshots-{version()}.dist-info" / "METADATA",
        about.encode(),
    )
    yield Path("LICENSE"), (PROJECT / "LICENSE").read_bytes()


def _packed(
    files: Iterable[tuple[Path, Path | bytes]], moment: int, *, ends: bool
) -> bytes:
    """A tar of files; a part of one unless it ends."""
    buffer = io.BytesIO()
    tar = tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  closing it writes its end
    for name, source in files:
        entry = tarfile.TarInfo(name.as_posix())
        entry.mtime = moment
        entry.mode = 0o644
        if isinstance(source, Path) and source.is_symlink():
            entry.type = tarfile.SYMTYPE
            entry.linkname = str(source.readlink())
            tar.addfile(entry)
            continue
        content = source.read_bytes() if isinstance(source, Path) else source
        if isinstance(source, Path) and os.access(source, os.X_OK):
            entry.mode = 0o755
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    if ends:
        tar.close()
    return buffer.getvalue()


def _compressed(content: bytes) -> bytes:
    """Level 9 takes three times as long, and saves less than half a percent."""
    return gzip.compress(content, compresslevel=6, mtime=0)
