"""Clients of the service that others wrote, for the tests of the emulator: `python -m tools.clients` has them at hand.

The vendor's JavaScript SDK comes from npm, and the crate `squarecloud` from crates.io, in a small program that asks the
emulator. Both are kept in the user's cache, as the engine is. The vendor's Python SDK is one of the development packages.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import engine
from tools.engine import Closed, Environment

PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "emulator" / "clients"
NPM_PACKAGE, NPM_VERSION = "@squarecloud/api", "3.8.0"
"""The newest version that the registry has; version 5 is only in its repository."""
CARGO_MANIFEST = """\
[package]
name = "client"
version = "0.1.0"
edition = "2021"

[dependencies]
squarecloud = "=0.5.0"
tokio = { version = "1", features = ["macros", "rt"] }

[profile.dev]
debug = false
"""


class Missing(Closed):
    """A tool is not on this machine."""


def say(text: str) -> None:
    """Tell the user on stderr."""
    print(f"clients: {text}", file=sys.stderr, flush=True)


def javascript(environment: Environment) -> Path:
    """The folder of the vendor's JavaScript SDK.

    Raises:
        Missing: There is no Node.js or npm.
        Closed: The package cannot be had.
    """
    _need(environment, "node", "npm")

    def fetch(into: Path, environment: Environment) -> None:
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
        engine.run(
            ["npm", "install", *options, "--prefix", str(into), f"{NPM_PACKAGE}@{NPM_VERSION}"], into, environment
        )

    package = f"node_modules/{NPM_PACKAGE}"
    return engine.kept(environment, f"npm-squarecloud-{NPM_VERSION}", (f"{package}/package.json",), fetch) / package


def rust(environment: Environment) -> Path:
    """The program that asks the emulator through the crate.

    Raises:
        Missing: There is no cargo, or not what the crate's HTTP library is compiled with.
        Closed: It does not compile.
    """
    _need(environment, "cargo", "cc", "pkg-config")
    found = subprocess.run(
        ["pkg-config", "--exists", "openssl"],  # noqa: S607
        env=dict(environment),
        check=False,
    )
    if found.returncode:
        raise Missing("no headers of OpenSSL (Debian and Ubuntu: libssl-dev)")
    source = (PROGRAMS / "client.rs").read_text()

    def build(into: Path, environment: Environment) -> None:
        work = into / "work"
        (work / "src").mkdir(parents=True)
        (work / "Cargo.toml").write_text(CARGO_MANIFEST)
        (work / "src" / "main.rs").write_text(source)
        say("compiling the Rust client: about 2 minutes on two cores, once")
        engine.run(["cargo", "build", "--quiet"], work, {**environment, "CARGO_TARGET_DIR": str(work / "target")})
        shutil.copy2(work / "target" / "debug" / "client", into / "client")
        engine.remove(work)

    made_from = hashlib.sha256(f"{CARGO_MANIFEST}\0{source}".encode()).hexdigest()[:12]
    return engine.kept(environment, f"rust-client-{made_from}", ("client",), build) / "client"


def _need(environment: Environment, *names: str) -> None:
    for name in names:
        if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
            raise Missing(f"no {name} on PATH")


def main() -> int:
    """Have them at hand, or say what is missing."""
    for prepare in (javascript, rust):
        try:
            prepare(os.environ)
        except Missing as reason:
            say(f"tests with the {prepare.__name__} client will be skipped: {reason}")
        except Closed as reason:
            say(str(reason))
    return 0


if __name__ == "__main__":
    sys.exit(main())
