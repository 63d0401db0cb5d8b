"""SDKs of the plugin for TypeScript, Go and Python: `python -m tools.sdks` generates them from the schema into sdks/.

The generator is a small Go program on Pulumi's own packages, in tools/sdkgen. It is compiled once per version and kept in
the user's cache, as the engine is; so are the npm packages that the tests compile and run TypeScript with, and the language
hosts for Go, TypeScript and YAML.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pulumi_snapshots.plugin.description.identity import NPM_NAME
from pulumi_snapshots.plugin.description.schema import schema
from tools import engine, language_hosts
from tools.engine import Closed, Environment

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = PROJECT / "tools" / "sdkgen" / "main.go"
SDKS = PROJECT / "sdks"
LANGUAGES = ("nodejs", "go", "python")
EXAMPLE = PROJECT / "examples" / "typescript" / "package.json"
"""Names the npm packages; its own dependency on the generated SDK is left out."""
OURS = NPM_NAME
GENERATE_SECONDS = 60.0
"""How long the generator may take; it takes less than one."""


def say(text: str) -> None:
    """Tell the user on stderr."""
    print(f"sdks: {text}", file=sys.stderr, flush=True)


def generate(environment: Environment, into: Path, languages: Iterable[str] = LANGUAGES) -> None:
    """Generate SDKs into folders of `into` that are called like their languages.

    Raises:
        Closed: There is no generator, or it fails.
    """
    program = generator(environment)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=into) as name:
        making = Path(name)
        described = making / "schema.json"
        described.write_text(json.dumps(schema()))
        pairs = [part for language in languages for part in (language, str(making / language))]
        made = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [program, described, *pairs], capture_output=True, text=True, check=False, timeout=GENERATE_SECONDS
        )
        if made.returncode:
            raise Closed(f"the generator failed: {made.stderr.strip()}")
        for language in languages:
            shutil.rmtree(into / language, ignore_errors=True)
            (making / language).rename(into / language)


# What is kept


def generator(environment: Environment) -> Path:
    """The compiled generator, made if need be.

    Raises:
        Closed: It cannot be built.
    """
    made_from = hashlib.sha256(SOURCE.read_bytes() + engine.MODULES.encode()).hexdigest()[:12]
    return engine.kept(environment, f"sdkgen-{made_from}", ("sdkgen",), _compile, _answers) / "sdkgen"


def _compile(into: Path, environment: Environment) -> None:
    module = engine.module(into / "work" / "sdkgen", engine.MODULES, SOURCE.read_text())
    go = engine.new_enough(module, environment)
    say("building the generator: half a minute if Go has built an engine before, else minutes; once")
    engine.build(go, module, ".", into / "sdkgen", engine.ENGINE, environment)
    engine.remove(into / "work")


def _answers(home: Path) -> bool:
    """Whether the generator runs: without arguments it says how to call it."""
    try:
        told = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [home / "sdkgen"], capture_output=True, text=True, check=False, timeout=engine.ANSWER_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "usage: sdkgen" in told.stderr


def node_modules(environment: Environment) -> Path:
    """The folder of the npm packages that the TypeScript example asks for, but for the generated SDK.

    Raises:
        Closed: There is no Node.js or npm, or the packages cannot be had.
    """
    for name in ("node", "npm"):
        if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
            raise Closed(f"no {name} on PATH")
    wanted = json.loads(EXAMPLE.read_text())
    packages = {**wanted["dependencies"], **wanted["devDependencies"]}
    del packages[OURS]

    def fetch(into: Path, environment: Environment) -> None:
        (into / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
        say("fetching npm packages: less than a minute, once")
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
        engine.run(["npm", "install", *options], into, environment)

    name = f"npm-{hashlib.sha256(json.dumps(packages).encode()).hexdigest()[:12]}"
    files = tuple(f"node_modules/{package}/package.json" for package in packages)
    return engine.kept(environment, name, files, fetch) / "node_modules"


def main() -> int:
    """Generate the SDKs; with `--prepare` only have at hand what the tests of other languages need, or say what they lack."""
    if "--prepare" in sys.argv[1:]:
        for prepare in (
            node_modules,
            generator,
            language_hosts.GO.ensure,
            language_hosts.NODEJS.ensure,
            language_hosts.YAML.ensure,
        ):
            try:
                prepare(os.environ)
            except Closed as reason:
                say(f"tests of other languages will be skipped: {reason}")
        return 0
    try:
        generate(os.environ, SDKS)
    except Closed as reason:
        say(str(reason))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    print(*(SDKS / language for language in LANGUAGES), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
