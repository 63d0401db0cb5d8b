"""SDKs of the plugin for TypeScript, Go and Python.

`python -m tools.sdks` generates them from the schema into sdks/.

The engine asks a small Go program on Pulumi's own packages, in tools/sdkgen, in the place of
language hosts. It is compiled once per version and kept in the user's cache, as the engine is; so
are the npm packages that the tests compile and run TypeScript with, and the language hosts for
TypeScript and YAML.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pulumi_snapshots.plugin.description.identity import NPM_NAME
from pulumi_snapshots.plugin.description.schema import schema
from tools import engine, language_hosts, lock
from tools.engine import Closed, Environment

PROJECT = Path(__file__).resolve().parent.parent
SOURCE = PROJECT / "tools" / "sdkgen" / "main.go"
SDKS = PROJECT / "sdks"
LANGUAGES = ("nodejs", "go", "python")
HOSTS = tuple(f"pulumi-language-{language}" for language in LANGUAGES)
LOCK = "typescript.json"
"""The lock file of the npm packages."""
OURS = NPM_NAME
say = partial(engine.say, who="sdks")


def generate(
    environment: Environment, into: Path, languages: Iterable[str] = LANGUAGES
) -> None:
    """Generate SDKs into folders of `into` that are called like their languages.

    Raises:
        Closed: There is no engine or no generator, or it fails.
    """
    found = [
        str(generator(environment)),
        str(engine.ensure(environment)),
        environment.get("PATH", os.defpath),
    ]
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=into) as name:
        making = Path(name)
        described = making / "schema.json"
        described.write_text(json.dumps(schema()))
        quiet = {
            "PATH": os.pathsep.join(found),
            "PULUMI_HOME": name,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        for language in languages:
            asked = (
                "package",
                "gen-sdk",
                "schema.json",
                "--local",
                "--language",
                language,
                "--out",
                ".",
            )
            engine.run(["pulumi", *asked], making, {**environment, **quiet})
        for language in languages:
            shutil.rmtree(into / language, ignore_errors=True)
            (making / language).rename(into / language)


# What is kept


def generator(environment: Environment) -> Path:
    """Return the folder of the compiled generator, under the name of each language's host.

    Raises:
        Closed: The generator cannot be built.
    """
    made_from = hashlib.sha256(
        SOURCE.read_bytes() + engine.MODULES.encode()
    ).hexdigest()[:12]
    return engine.kept(environment, f"sdkgen-{made_from}", _compile)


def _compile(into: Path, environment: Environment) -> None:
    engine.compiled(
        into / HOSTS[0], engine.MODULES, SOURCE.read_text(), engine.ENGINE, environment
    )
    for other in HOSTS[1:]:
        (into / other).symlink_to(HOSTS[0])


def generator_and_yaml(environment: Environment) -> None:
    """Have at hand the generator, then the host of YAML, which is made of the same and more.

    Closed as for each of them.
    """
    generator(environment)
    language_hosts.YAML.ensure(environment)


def node_modules(environment: Environment) -> Path:
    """Return the folder of the TypeScript example's npm packages, without the generated SDK.

    Raises:
        Closed: There is no Node.js or npm, or the packages cannot be had.
    """
    for name in ("node", "npm"):
        if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
            raise Closed(f"no {name} on PATH")

    def fetch(into: Path, _: Environment) -> None:
        say("fetching npm packages: less than a minute, once")
        lock.install_npm(LOCK, into)

    locked = hashlib.sha256((lock.LOCKS / LOCK).read_bytes()).hexdigest()[:12]
    return engine.kept(environment, f"npm-{locked}", fetch) / "node_modules"


def main() -> int:
    """Generate the SDKs.

    With `--prepare` only have at hand what the tests of other languages need, or say what they
    lack.
    """
    if "--prepare" in sys.argv[1:]:
        needed = (node_modules, generator_and_yaml, language_hosts.NODEJS.ensure)
        with (
            ThreadPoolExecutor() as pool
        ):  # while one is compiled, another one is downloaded
            for made in [pool.submit(each, os.environ) for each in needed]:
                try:
                    made.result()
                except Closed as reason:
                    say(f"tests of other languages will be skipped: {reason}")
        return 0
    return engine.exit_code(_generate_all, say)


def _generate_all() -> None:
    generate(os.environ, SDKS)
    print(*(SDKS / language for language in LANGUAGES), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
