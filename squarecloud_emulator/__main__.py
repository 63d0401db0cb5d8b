"""The console script `squarecloud-emulator`: its options, its start and its end."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import socket
import sys
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from squarecloud_emulator.control.local_only import is_loopback
from squarecloud_emulator.data.store import StoreError
from squarecloud_emulator.emulator import Emulator
from squarecloud_emulator.service.settings import TEST_API_KEY, EmulatorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from squarecloud_emulator.data.store import Store

_KEY_VARIABLE = "SQUARECLOUD_EMULATOR_API_KEY"
_DSN_VARIABLE = "SQUARECLOUD_EMULATOR_POSTGRES_DSN"
_PASSWORD = f"PGPASSWORD or a password file, or the whole DSN in {_DSN_VARIABLE}"


def time(text: str) -> datetime:
    """Return the time that a text in RFC 3339 names; argparse shows this name in an error.

    Args:
        text: The text.
    """
    return datetime.fromisoformat(text)


_SETTINGS = {
    "--speed": ("speed", "seconds of the service's time in one real second"),
    "--clock-offset": (
        "clock_offset_seconds",
        "how far the service's clock is ahead, in seconds",
    ),
    "--snapshot-seconds": ("snapshot_seconds", "how long a snapshot takes"),
    "--soft-deadline": (
        "soft_deadline_seconds",
        "after how many seconds a POST is answered 202",
    ),
    "--restore-seconds": ("restore_seconds", "how long a restore takes"),
    "--restore-holds": (
        "restore_holds",
        (
            "answer the POST of a restore with its outcome, or 202 at the soft deadline; "
            "otherwise at "
            "once"
        ),
    ),
    "--restore-tail": (
        "restore_tail_seconds",
        (
            "after a restore that succeeded, how long other POSTs are still answered with "
            "RESTORE_IN_PROGRESS, in seconds"
        ),
    ),
    "--restore-status": (
        "restore_status_route",
        (
            "whether the service has the route that shows how a restore stands, or how it answers "
            "without it"
        ),
    ),
    "--memory": (
        "plan_memory_mb",
        "the plan's MB; it allows (MB / 256) * 2 snapshots a day",
    ),
    "--plan": ("plan", "a free plan has no account listing"),
    "--paid-until": (
        "plan_ends_at",
        "when the plan ends, such as 2026-12-31T12:00:00Z",
    ),
    "--requests-per-minute": ("requests_per_minute", "the rate limit"),
    "--block-seconds": (
        "block_seconds",
        "how long the account is blocked past the rate limit",
    ),
    "--cache-seconds": ("cache_seconds", "how long listings are cached"),
    "--cache-world": (
        "cache_world",
        (
            "whether a finished snapshot invalidates cached listings, or they are kept until they "
            "expire"
        ),
    ),
    "--modified-is": ("modified_is", "which moment a snapshot's time is"),
    "--name-style": ("name_style", "how snapshots are named"),
    "--old-style-entries": (
        "old_style_entries",
        "listings without version_id, url, runtime and origin",
    ),
    "--automatic": ("automatic_snapshots", "daily automatic snapshots"),
}
"""By option: the setting that it chooses, and its meaning."""
_READ = {"plan_ends_at": time}
"""How a setting without a default is read."""
_STARTED = {"automatic_snapshots": True}
"""What is other for the command than in Python."""
_FAILED = 1
_WRONG_USE = 2  # as argparse, which is there without the extra, so that this says what is missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal, 1 if it could not start, 2 for wrong options.
    """
    options = parser().parse_args(arguments)
    _show_warnings()
    try:
        from squarecloud_emulator import app, serving  # noqa: F401, PLC0415 - they need the extra
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        return _fail(f"{missing} is missing; {_install('emulator')}")
    if not (is_loopback(options.host) or options.allow_remote):
        return _fail(
            (
                f"{options.host} can be reached from other machines; add --allow-remote if you "
                "want "
                "that"
            ),
            _WRONG_USE,
        )
    try:
        emulator, listening = opened(options)
    except (OSError, ValueError, StoreError) as error:
        return _fail(" ".join(str(error).split()))

    def ready() -> None:
        # The only line on stdout; scripts read the port from it.
        line = (
            f"squarecloud-emulator listening on {emulator.base_url} "
            f"(API {emulator.api_url}, snapshots {emulator.snapshots_url})\n"
        )
        sys.stdout.write(line)
        sys.stdout.flush()

    serving.Server(emulator, ready).serve_at(listening)
    return 0


def opened(options: argparse.Namespace) -> tuple[Emulator, socket.socket]:
    """The emulator that options ask for, and the bound socket of its address.

    Raises:
        OSError: the folder for its data cannot be used.
        ValueError: an option cannot be used.
        StoreError: its data cannot be read.
    """
    store: Store | None = None
    try:
        if options.data_folder is not None:
            _claim(options.data_folder)
        store = _store(options)
        emulator = Emulator(
            _chosen(options),
            data_folder=options.data_folder,
            store=store,
        )
        for described in options.database:
            database_id, _, kind = described.partition(":")
            if database_id not in emulator.databases:
                emulator.add_database(database_id, type=kind or "postgres")
        listening = _listen(options.host, options.port)
    except (OSError, ValueError, StoreError):
        if store is not None:
            store.close()
        raise
    host, port = listening.getsockname()[:2]
    emulator.base_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return emulator, listening


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    usual = EmulatorSettings()
    parser = argparse.ArgumentParser(
        prog="squarecloud-emulator",
        description=(
            "Square Cloud's database snapshots on this machine. "
            f"The API key that it accepts comes from {_KEY_VARIABLE}; unless set it is "
            f"{TEST_API_KEY}"
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add(
        "--allow-remote",
        action="store_true",
        help="allow a --host that other machines can reach",
    )
    add(
        "--data-folder",
        type=Path,
        help="keep everything here across restarts; without it everything is gone at the end",
    )
    add(
        "--database",
        action="append",
        default=[],
        metavar="ID[:TYPE]",
        help="add a database; may be repeated",
    )
    add(
        "--postgres-dsn",
        metavar="DSN",
        help="keep the databases of type postgres at this PostgreSQL server instead of in SQLite. "
        f"Give the password in {_PASSWORD}",
    )

    types = get_type_hints(EmulatorSettings)
    for option, (name, help_) in _SETTINGS.items():
        value = getattr(usual, name)
        kind = types[name]
        how: dict[str, Any] = {"type": _READ.get(name, type(value))}
        if isinstance(value, bool):
            how = {
                "action": argparse.BooleanOptionalAction
                if option == "--automatic"
                else "store_true"
            }
        elif get_origin(kind) is Literal:
            how = {"choices": get_args(kind)}
        elif name in _READ:
            how["metavar"] = "TIME"
        add(option, dest=name, help=help_, default=_STARTED.get(name, value), **how)
    return parser


def _chosen(options: argparse.Namespace) -> EmulatorSettings:
    chosen = {
        one.name: getattr(options, one.name)
        for one in fields(EmulatorSettings)
        if hasattr(options, one.name)
    }
    return EmulatorSettings(
        api_key=os.environ.get(_KEY_VARIABLE) or TEST_API_KEY, **chosen
    )


def _store(options: argparse.Namespace) -> Store | None:
    """The store for the data; None if the emulator is to choose it.

    Raises:
        ValueError: The server cannot be used, or the arguments hold the password.
    """
    given = options.postgres_dsn
    dsn = given or os.environ.get(_DSN_VARIABLE)
    if not dsn:
        return None
    try:
        from squarecloud_emulator.data.postgres_server import holds_password  # noqa: PLC0415 - it needs the extra
        from squarecloud_emulator.data.postgres_store import PostgresStore  # noqa: PLC0415
    except ImportError as error:
        missing = (
            "psycopg is missing"
            if isinstance(error, ModuleNotFoundError)
            else f"psycopg does not load ({error})"
        )
        raise ValueError(f"{missing}; {_install('emulator-postgres')}") from None
    if given and holds_password(given):
        raise ValueError(
            "--postgres-dsn holds a password, which every user of this machine can read: give it "
            f"in {_PASSWORD}"
        )
    return PostgresStore(dsn, options.data_folder)


def _install(extra: str) -> str:
    return f"install it with: pip install '/path/to/clone[{extra}]'"


def _claim(folder: Path) -> None:
    """Lock this folder against other emulators until the process ends.

    ValueError if another emulator uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # never closed: the end of the process unlocks it
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"another emulator uses {folder}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(f"cannot listen on {host} port {port}: {error}") from error
    return listening


def _show_warnings() -> None:
    """Show on stderr why a snapshot or a restore failed; the service's answers do not say it."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("squarecloud-emulator: %(message)s"))
    logger = logging.getLogger("squarecloud_emulator")
    logger.addHandler(shown)
    logger.propagate = False


def _fail(message: str, code: int = _FAILED) -> int:
    sys.stderr.write(f"squarecloud-emulator: {message}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
