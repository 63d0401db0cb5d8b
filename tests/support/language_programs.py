"""Programs in other languages with the generated SDKs, compiled once for what they are made of and kept in the user's cache."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pulumi_snapshots.plugin.description.schema import example, schema
from tools import engine, sdks

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = Path(__file__).resolve().parents[1] / "engine" / "programs"
TYPESCRIPT = (
    EXAMPLES / "typescript",
    EXAMPLES / "guard-typescript",
    PROGRAMS / "types",
    PROGRAMS / "mocked",
)


def generated() -> Path:
    """The folder of the SDKs of the present schema, one folder for each language."""
    name = f"sdks-{_digest(sdks.SOURCE.read_bytes())}"
    return engine.kept(
        os.environ, name, lambda into, environment: sdks.generate(environment, into)
    )


def all_typescript() -> Path:
    """As `typescript`, of every project at hand: the tests' own, the examples, and those of the schema in one."""
    with tempfile.TemporaryDirectory() as name:
        described = Path(name) / "schema"
        shutil.copytree(EXAMPLES / "typescript", described)
        (described / "index.ts").write_text(example("typescript"))
        return typescript(*TYPESCRIPT, described)  # the compiler reads libraries once


def typescript(*projects: Path) -> Path:
    """A folder with `node_modules`, in which the SDK is as npm would install it, and the compiled files of each project."""
    packages = sdks.node_modules(os.environ)
    sdk = generated() / "nodejs"
    sources = sorted(
        file for project in projects for file in project.glob("*.*s*") if file.is_file()
    )
    texts = [
        sdks.SOURCE.read_bytes(),
        str(packages).encode(),
        *(file.read_bytes() for file in sources),
    ]

    def make(into: Path, environment: engine.Environment) -> None:
        modules = into / "node_modules"
        modules.mkdir()
        for each in packages.iterdir():
            (modules / each.name).symlink_to(each)
        ours = modules / sdks.OURS
        shutil.copytree(sdk, ours)
        found = {
            **environment,
            "PATH": os.pathsep.join(
                [str(modules / ".bin"), environment.get("PATH", os.defpath)]
            ),
        }
        engine.run(["node", "scripts/postinstall.js"], ours, found)
        for project in projects:
            shutil.copytree(
                project,
                into / project.name,
                ignore=shutil.ignore_patterns("node_modules", "bin"),
            )
        engine.run(["tsc", "--build", *(each.name for each in projects)], into, found)

    return engine.kept(os.environ, f"typescript-{_digest(*texts)}", make)


def go_package(folder: Path, example: Path, what: str = "build") -> None:
    """Compile a Go package, with the packages that an example asks for."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for each in (*folder.glob("*.go"), *example.glob("go.*")):
            shutil.copy(each, work)
        module = work / "go.mod"
        module.write_text(
            module.read_text().replace("../../sdks/go", str(generated() / "go"))
        )
        engine.lock_sums(work)
        go = engine.new_enough(work, os.environ)
        engine.raise_to_engine(go, work, os.environ, named=True)
        engine.run([go, *what.split(), "./..."], work, os.environ)


def python_sdk() -> Path:
    """A folder with the generated SDK, as pip installs it from its folder."""
    sdk = generated() / "python"

    def install(into: Path, environment: engine.Environment) -> None:
        work = into / "work"  # the build leaves files in it
        shutil.copytree(sdk, work)
        options = (
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(into),
        )
        engine.run(
            [sys.executable, "-m", "pip", "install", *options, str(work)],
            into,
            environment,
        )
        engine.remove(work)

    name = f"python-sdk-{_digest(sdks.SOURCE.read_bytes())}"
    return engine.kept(os.environ, name, install)


def python_program(text: str) -> None:
    """Check the types of a Python program with the generated SDK and the project's classes; once for what it is made of."""

    def check(into: Path, environment: engine.Environment) -> None:
        (into / "program.py").write_text(text)
        kept = engine.cache(environment) / "mypy-programs"
        options = ("--strict", "--follow-imports=silent", f"--cache-dir={kept}")
        command = [sys.executable, "-m", "mypy", *options, str(into / "program.py")]
        with engine.locked(kept):  # mypy's cache is for one at a time
            engine.run(
                command,
                EXAMPLES.parent,
                {**environment, "MYPYPATH": str(generated() / "python")},
            )

    engine.kept(
        os.environ, f"python-{_digest(sdks.SOURCE.read_bytes(), text.encode())}", check
    )


def _digest(*texts: bytes) -> str:
    """Changes with the schema and with each of these texts."""
    described = json.dumps(schema(), sort_keys=True).encode() + engine.MODULES.encode()
    return hashlib.sha256(b"\0".join([described, *texts])).hexdigest()[:12]
