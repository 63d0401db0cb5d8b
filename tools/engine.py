"""A Pulumi engine for this machine: the installed one, or one built from its Go modules.

`python tools/engine.py` prints on stdout just the directory to put on PATH, and on stderr what it
does and why. What it builds is kept in the user's cache, and repairs itself when it is found
incomplete.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHOSEN = "BUILD_PULUMI"
"""A variable with the release that is to be built and used, whatever is installed."""
USUAL = "3.274.1"
"""The release that tests are written for."""
ENGINE = os.environ.get(CHOSEN) or USUAL
"""The release that is built if none is installed."""
LANGUAGE_HOST = "3.68.0"
"""The last Python language host that is part of a Go module; it works with later engines. Only
built engines use it.
"""
OLDEST_INSTALLED = (3, 139, 0)
"""The first engine that hands a dynamic provider its configuration."""
GO_DIRECTIVE = "1.25.11"
"""The Go version that the engine's own module asks for."""

FILES = (
    "pulumi",
    "pulumi-language-python",
    "pulumi-language-python-exec",  # what the language host starts; looked for beside it
    "pulumi-resource-pulumi-python",  # what starts dynamic providers
)
MACHINE = f"-{platform.system()}-{platform.machine()}".lower()
"""The end of the names of what is kept."""
ANSWER_SECONDS = 30.0
"""How long `pulumi version` may take."""
KEPT_SECONDS = 3 * 86_400.0
"""How long one stays after its last use."""

PULUMI = "github.com/pulumi/pulumi/"
PKG = f"{PULUMI}pkg/v3"
SDK = f"{PULUMI}sdk/v3"
WITHOUT_GOOGLE = (
    "replace github.com/googleapis/gax-go/v2 => github.com/googleapis/gax-go/v2 "
    "v2.0.5\n"
)
"""Without it a library's pauses between tries would bring in 400 MB of Google's APIs. A whole
engine uses them.
"""
CLIPBOARD = "github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e"
MODULES = f"""\
require (
	{PKG} v{ENGINE}
	{SDK} v{ENGINE}
)
replace github.com/atotto/clipboard => {CLIPBOARD}
{WITHOUT_GOOGLE}"""
"""What a Go module requires to compile the engine, or with its packages. The first replacement is
the engine's own.
"""
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOWORK": "off",
    "GOFLAGS": (
        "-mod=mod -trimpath -tags=osusergo,grpcnotrace,ferretdb_no_sqlite "
        "'-gcflags=all=-dwarf=false -l -c=1' '-gcflags=std=-dwarf=false -c=1' -ldflags=-s"
    ),
}
"""For every Go command: with the same flags, each finds in Go's cache what the others have
compiled.

Without what only a debugger reads, without inlining outside of the standard library, and with one
thread for each package, Go needs less time to compile, and an engine as much to run. FerretDB does
without SQLite, the largest package of all.
"""
GO_SUMS = Path(__file__).resolve().parent.parent / "locks" / "go.sum"
"""The hashes of all modules that are compiled here: Go takes no other content under the same
version.
"""
COLLECT_SUMS = "PULUMI_SNAPSHOTS_COLLECT_SUMS"
"""A variable with the file that `make lock` collects these hashes in; none that are locked are used
then.
"""
WHOLE_ENGINE = "PULUMI_SNAPSHOTS_WHOLE_ENGINE"
"""A variable that, if set, has all of the engine built, without what `LEFT_OUT` cuts."""
LITTLE_COLLECTION = {"GOGC": "off", "GOMEMLIMIT": "1500MiB"}
"""For every Go command, unless the user has set them: a compiler that collects garbage only if it
needs much memory takes a fifth less time.
"""

LEFT_OUT = {
    "backend/diy/backend.go": (
        r'^\t_? ?"(gocloud.dev/blob/(?!file)|.*authhelpers|.*postgres).*\n'
        r"|^\tif p.Scheme == (gcs|azure)(.*\n)+?\t}\n"
    ),
    "backend/diy/bucket.go": (
        r'^\t(awss3 .*|"net/url")\n'
        r"|^\t\tvar input.*\n"
        r"|^\t\tif asFunc(.*\n){3}"
        r"|^func fixupS3(.*\n)+?}\n"
    ),
    "backend/httpstate/policypack.go": r'^.*(nodejs/npm"|npm\.Pack).*\n',
    "cmd/pulumi/cmd/*.go": (
        r'^.*/cloud"\n'
        r"|^\tif apiErr(.*\n)+?\t}\n"
    ),
    "cmd/pulumi/config/config.go": (
        r'^.*(esc/cli|zxcvbn-go)"\n'
        r"|^\t\tif env != nil {\n\t\t\t_, (.*\n)+?\t\t}\n"
        r"|^\tif !keyPattern.*\n"
        r"|^\t}\n\n\tif len\(v\) >(.*\n)+?(?=})"
    ),
    "cmd/pulumi/config/config_env_init.go": (
        r'^.*glamour"\n'
        r"|^\tif !cmdutil.Inter.*\n"
        r"|^\t}\n\n\trenderer(.*\n)+?(?=})"
    ),
    "cmd/pulumi/config/io.go": (
        r'^.*(esc/cli|util/logging)"\n'
        r"|^\t\t_, environ(.*\n)+?(?=\t}\n\n)"
    ),
    "cmd/pulumi/pulumi.go": (
        r'^\t.*(pulumi/(cloud|deployment|env|insights|logs|markdown|neo|org|policy|trace)"'
        r"|\b(cloud|cmdEnv|deployment|insights|logs|markdown|neo|org|policy|trace)\.New"
        r"|helpers :=).*\n"
    ),
    "cmd/pulumi/schemainfo/description.go": (
        r'^.*glamour.*"\n'
        r"|^func helpMark(.*\n)+?}\n"
        r"|^\trenderer(.*\n)+?\tif err.*\n"
        r"|^\t}\n\trendered(.*\n)+?(?=})"
    ),
    "codegen/schema/bind.go": (
        r'^\t(_ "embed"|"io"|.*jsonschema/v5")\n'
        r"|^//go:embed pulumi.*\n"
        r"|^var [mM]etaSchema.*\n"
        r"|^func (init\(\) {\n\tcompiler|validateSpec)(.*\n)+?}\n"
        r"|^\tif validate {(.*\n)+?\t}\n"
    ),
    "resource/stack/deployment.go": (
        r'^\t("io"|.*jsonschema/v5")\n'
        r"|^var \(\n\tdeploymentSchema(.*\n)+?\)\n"
        r"|^func (init\(\) {\n\tcompiler|ValidateUntyped)(.*\n)+?}\n"
    ),
    "secrets/cloud/manager.go": (
        r'^\t_? ?"(gocloud.dev/secrets/(?!hashi)|google|.*authhelpers).*\n'
        r"|^\tcase gcpkms(.*\n)+?(?=\tdefault)"
    ),
}
"""What the engine is built without, by files of its source: states in buckets and PostgreSQL, keys
in clouds, commands for Pulumi's own cloud, policies and environments, coloured Markdown, the guess
whether a setting is a secret, and two schemas compiled at each start. Neither the demo nor a test
by day uses them. Built from an empty cache on two cores, side by side on 2026-12-02, it takes 66 s
in place of 149 s, and has 48 MB in place of 107 MB. It starts in less than a third of the time.
"""

Environment = Mapping[str, str]
Make = Callable[[Path, Environment], None]
"""Fills a directory, or raises Closed."""
Run = Callable[[list[str], Path, Environment], str]
"""Runs a command in a folder."""


class Closed(Exception):
    """Something cannot be had on this machine; the text says why."""


class Missing(Closed):
    """A tool that is needed to make it is not on this machine."""


def say(text: str, who: str = "engine") -> None:
    """Tell the user on stderr; stdout is for the answer alone."""
    print(f"{who}: {text}", file=sys.stderr, flush=True)


def ensure(environment: Environment) -> Path:
    """The directory of a working engine, built if it is missing.

    Closed if none is installed and none could be built.
    """
    try:
        directory, version = installed(environment)
    except Closed as reason:
        say(f"none is installed: {reason}")
    else:
        say(f"Pulumi {version}, installed in {directory}")
        return directory
    made_from = hashlib.sha256(
        repr((MODULES, left_out(environment))).encode()
    ).hexdigest()[:12]
    home = kept(
        environment,
        f"engine-{made_from}",
        build_engine,
        lambda home: version_of(home / "pulumi") == ENGINE,
    )
    say(f"Pulumi {ENGINE}, built from Go modules, kept in {home}")
    return home


# The installed one


def installed(environment: Environment) -> tuple[Path, str]:
    """Directory and version of a usable Pulumi on PATH; Closed if there is none."""
    if environment.get(CHOSEN):
        raise Closed(f"{CHOSEN} asks for {ENGINE}")
    path = environment.get("PATH", os.defpath)
    pulumi = shutil.which("pulumi", path=path)
    if pulumi is None:
        raise Closed("no pulumi on PATH")
    version = version_of(Path(pulumi))
    if not version:
        raise Closed(f"{pulumi} does not run")
    if numbers(version) < OLDEST_INSTALLED:
        raise Closed(
            f"{pulumi} is {version}, older than {'.'.join(map(str, OLDEST_INSTALLED))}"
        )
    beside = (str(Path(pulumi).parent), str(Path(pulumi).resolve().parent))
    for name in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
        if shutil.which(name, path=os.pathsep.join((*beside, path))) is None:
            raise Closed(f"{pulumi} has no {name}, which Python programs need")
    return Path(pulumi).parent, version


def version_of(pulumi: Path) -> str:
    """The three numbers that `pulumi version` answers, such as `3.274.1`.

    Empty if it does not run.
    """
    quiet = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [pulumi, "version"],
            capture_output=True,
            check=True,
            text=True,
            timeout=ANSWER_SECONDS,
            env=quiet,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.match(r"\s*v?(\d+\.\d+\.\d+)", answer.stdout)
    return found[1] if found else ""


def numbers(version: str) -> tuple[int, ...]:
    """To compare versions."""
    return tuple(map(int, version.split(".")))


# What is kept in the cache


def kept(
    environment: Environment,
    name: str,
    make: Make,
    works: Callable[[Path], bool] = lambda _: True,
) -> Path:
    """A directory of the user's cache, made unless it is there and works.

    Closed if it cannot be made.

    Its name changes with whatever it is made from. Runs at the same time make it once, beside its
    place, and move it there in one step. Of its kind, those that were not used for days are removed
    then.
    """
    home = cache(environment) / f"{name}{MACHINE}".lower()
    with locked(home):
        if home.exists() and works(home):
            return home
        for left_over in (home, *home.parent.glob(f"{home.name}.making-*")):
            remove(left_over)
        new = Path(tempfile.mkdtemp(prefix=f"{home.name}.making-", dir=home.parent))
        try:
            make(new, environment)
            if not works(new):
                raise Closed(f"{name} was made and does not run")
            new.rename(home)
        finally:
            remove(new)
        prune(home)
    return home


def cache(environment: Environment) -> Path:
    """The folder of all that is kept."""
    base = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".cache"
    )
    folder = Path(base) / "pulumi-snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Wait until no other process has this lock, and have it.

    Opening its file says when that was.
    """
    with lock_of(home).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with this process, however that ends
        yield


def prune(home: Path) -> None:
    """Remove those of this kind that were not used for days, unless they are locked.

    What the name says before its last dash is the kind; behind that is what it was made from. Locks
    stay: they are empty, and another process may wait for one.
    """
    kind = home.name.removesuffix(MACHINE).rpartition("-")[0]
    for old in home.parent.glob(f"{kind}-*{MACHINE}"):
        with lock_of(old).open("a") as lock, contextlib.suppress(BlockingIOError):
            is_old = lock_of(old).stat().st_mtime < time.time() - KEPT_SECONDS
            is_of_kind = old.name.removesuffix(MACHINE).rpartition("-")[0] == kind
            if is_old and is_of_kind:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(old)


def lock_of(home: Path) -> Path:
    """The file of its lock, which says when it was last used."""
    return home.with_name(f"{home.name}.lock")


def remove(directory: Path) -> None:
    """Delete a directory that may hold Go's read-only module cache."""
    for folder, _, _ in os.walk(directory):
        Path(folder).chmod(0o755)
    shutil.rmtree(directory, ignore_errors=True)


# Built from Go modules


def build_engine(into: Path, environment: Environment) -> None:
    """Build the engine and its language host, and copy the two scripts that go with them."""
    work = into / "work"
    package = f"{PKG}/cmd/pulumi"
    host = f"{SDK}/python/cmd/{FILES[1]}"
    requires = MODULES if left_out(environment) else MODULES.replace(WITHOUT_GOOGLE, "")
    engine = module(
        work / "engine", f"{requires}replace {PKG} => ../pkg\n", needing(package)
    )
    go = new_enough(
        engine, environment, ", or Pulumi (https://www.pulumi.com/docs/install/)"
    )
    say("building one: two to three minutes on two cores, once")

    def meanwhile() -> None:
        with contextlib.suppress(Closed):  # the build below says what is wrong
            alone([go, "build", "net/http"], engine, environment)

    # Go's own library needs no download, and all that follows waits for one.
    threading.Thread(target=meanwhile, daemon=True).start()
    ignore = shutil.ignore_patterns("testdata")
    shutil.copytree(
        source(go, PKG, engine, environment),
        work / "pkg",
        ignore=ignore,
        copy_function=shutil.copyfile,
    )
    for files, pattern in left_out(environment).items():
        cut(work / "pkg", files, pattern)
    build(go, engine, package, into / FILES[0], ENGINE, environment)
    scripts = source(go, SDK, engine, environment) / "python"
    for script in (scripts / "cmd" / FILES[2], scripts / "dist" / FILES[3]):
        shutil.copyfile(script, into / script.name)
        (into / script.name).chmod(0o755)
    requires = f"require {SDK} v{LANGUAGE_HOST}\n"
    compiled(into / FILES[1], requires, needing(host), LANGUAGE_HOST, environment, host)


def left_out(environment: Environment) -> dict[str, str]:
    """Return what is cut of the engine's source: nothing if `WHOLE_ENGINE` is set."""
    return {} if environment.get(WHOLE_ENGINE) else LEFT_OUT


def cut(source: Path, files: str, pattern: str) -> None:
    """Cut the lines that a pattern matches out of some files.

    Args:
        source: The folder of the module.
        files: Which of its files, as a glob.
        pattern: What is cut, in each line of a text. Alternatives have a `|` between them.

    Raises:
        Closed: An alternative matches nothing, so the source is another one than the pattern was
            written for.
    """
    texts = {file: file.read_text() for file in source.glob(files)}
    for each in alternatives(pattern):
        if not any(re.search(each, text, re.MULTILINE) for text in texts.values()):
            raise Closed(
                f"nothing in {files} matches {each!r} of LEFT_OUT in tools/engine.py: write the "
                f"pattern for the source of {ENGINE}, or set {WHOLE_ENGINE}=1 to build all of it"
            )
    for file, text in texts.items():
        file.write_text(re.sub(pattern, "", text, flags=re.MULTILINE))


def alternatives(pattern: str) -> list[str]:
    """Split a pattern at each `|` that is in no group, class or escape."""
    found = [""]
    depth = 0
    for part in re.findall(r"\\.|\[[^\]]*\]|.", pattern, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += part
    return found


def module(folder: Path, requires: str, source: str) -> Path:
    """A Go module of one file."""
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(
        f"module {folder.name}\n\ngo {GO_DIRECTIVE}\n\n{requires}"
    )
    (folder / "main.go").write_text(source)
    lock_sums(folder)
    return folder


def lock_sums(folder: Path) -> None:
    """Let Go take for the modules of a folder only what has the locked hashes."""
    if GO_SUMS.exists() and COLLECT_SUMS not in os.environ:
        shutil.copyfile(GO_SUMS, folder / "go.sum")


def _collect_sums(folder: Path) -> None:
    """Add what Go has found of the modules of a folder to what `make lock` collects."""
    if COLLECT_SUMS in os.environ:
        with Path(os.environ[COLLECT_SUMS]).open("a") as collected:
            collected.write((folder / "go.sum").read_text())


def needing(package: str) -> str:
    """Return a Go file that only needs a package.

    Builds honour its module's versions and replacements.
    """
    return f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n'


def source(go: str, module: str, folder: Path, environment: Environment) -> Path:
    """The folder of a module of the engine's version, downloaded if it is missing."""
    return Path(
        json.loads(
            run(
                [go, "mod", "download", "-json", f"{module}@v{ENGINE}"],
                folder,
                environment,
            )
        )["Dir"]
    )


def raise_to_engine(
    go: str, folder: Path, environment: Environment, *, named: bool = False
) -> None:
    """Raise a module's needs to the engine's versions, so that Go compiles each only once.

    What Pulumi itself wrote stays as the module asks for it. If the module has `named` all that it
    needs, as `go mod tidy` leaves it, others are not added.
    """
    asked = str(source(go, PKG, folder, environment) / "go.mod")
    engine = json.loads(run([go, "mod", "edit", "-json", asked], folder, environment))
    needs = [each for each in engine["Require"] if not each["Path"].startswith(PULUMI)]
    if named:
        own = {
            each["Path"]
            for each in json.loads(
                run([go, "mod", "edit", "-json"], folder, environment)
            )["Require"]
        }
        needs = [each for each in needs if each["Path"] in own]
    run(
        [
            go,
            "mod",
            "edit",
            *(f"-require={each['Path']}@{each['Version']}" for each in needs),
        ],
        folder,
        environment,
    )


def new_enough(folder: Path, environment: Environment, otherwise: str = "") -> str:
    """The Go on PATH, if it can build what needs GO_DIRECTIVE.

    Missing if there is none, or it is older.
    """
    go = shutil.which("go", path=environment.get("PATH", os.defpath))
    advice = f"install Go {GO_DIRECTIVE} or later{otherwise}"
    if go is None:
        raise Missing(f"no Go on PATH to build one: {advice}")
    try:
        version = run([go, "env", "GOVERSION"], folder, environment).strip()
    except Closed as reason:  # such as an older one that may not fetch a newer
        raise Missing(f"{reason}\n  {advice}") from None
    found = re.match(r"go(\d+(?:\.\d+)+)", version)
    if found is None or numbers(found[1]) < numbers(GO_DIRECTIVE):
        raise Missing(f"{go} is {version}, older than {GO_DIRECTIVE}: {advice}")
    return go


def alone(command: list[str], folder: Path, environment: Environment) -> str:
    """Run one such command at a time.

    Go compiles a package again if another process is just compiling it.
    """
    with locked(cache(environment) / "go-build"):
        return run(command, folder, environment)


def compiled(  # noqa: PLR0913, PLR0917
    program: Path,
    requires: str,
    source: str,
    version: str,
    environment: Environment,
    package: str = ".",
    how: Run = alone,
) -> None:
    """Compile a program by a module of one file: its source, or what needs its package.

    Without MODULES, the module is raised.
    """
    work = module(program.parent / "work" / program.name, requires, source)
    go = new_enough(work, environment)
    if (
        MODULES not in requires and ENGINE == USUAL
    ):  # others need what this program cannot use
        raise_to_engine(go, work, environment)
    build(go, work, package, program, version, environment, how)
    remove(program.parent / "work")


def build(  # noqa: PLR0913, PLR0917
    go: str,
    folder: Path,
    package: str,
    program: Path,
    version: str,
    environment: Environment,
    how: Run = alone,
) -> None:
    """Compile a package that the module in `folder` needs; the modules are downloaded before."""
    run([go, "list", "-deps", package], folder, environment)
    say(f"compiling {program.name} {version}")
    # the second in earlier releases
    places = (f"{SDK}/go/common/version", f"{PKG}/version")
    stamp = " ".join(["-s -w", *(f"-X {each}.Version=v{version}" for each in places)])
    how(
        [go, "build", "-o", str(program), "-ldflags", stamp, package],
        folder,
        environment,
    )
    _collect_sums(folder)


def run(command: list[str], folder: Path, environment: Environment, **user: Any) -> str:
    """What a command prints on stdout, run perhaps as another user.

    Closed if it failed, with its last words.
    """
    own = {**LITTLE_COLLECTION, **environment, **GO_ENVIRONMENT}
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
        check=False,
        **user,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-15:]
        raise Closed(
            "\n  ".join([f"{Path(command[0]).name} {command[1]} failed:", *said])
        )
    return done.stdout


def exit_code(work: Callable[[], int | None], say: Callable[[str], None]) -> int:
    """Do what a tool is for.

    Args:
        work: Does it.
        say: Shows why it was not done.

    Returns:
        The tool's exit code: what the work returns, 0 for None; 1 if it was `Closed`, 130 after an
        interrupt.
    """
    try:
        return work() or 0
    except Closed as reason:
        say(str(reason))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


def main() -> int:
    """Print the directory to put on PATH."""
    return exit_code(lambda: print(ensure(os.environ)), say)


if __name__ == "__main__":
    sys.exit(main())
