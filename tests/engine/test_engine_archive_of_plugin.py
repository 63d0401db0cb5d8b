"""The plugin's archive: installed as users install it, on a machine without Python, for a program in YAML."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyrage
import pytest

from bench.first_answer import MOST_BYTES, MOST_SECONDS, first_answer
from tests.engine.stage import DATABASE, EXAMPLES, App
from tools import dist, frozen_plugin, language_hosts
from tools.frozen_plugin import PROGRAM, version

pytestmark = pytest.mark.engine

IMPORTS = """
import sys
from importlib import import_module

import httpx
from pulumi_snapshots.engine.wording import PLUGIN
from pulumi_snapshots.errors import Hint, HintKind


def main():
    for name in sys.argv[1:]:
        import_module(name)
    assert httpx.create_ssl_context().cert_store_stats()["x509_ca"], "no authority is trusted"
    print(PLUGIN.text(Hint(HintKind.INSTALL_PACKAGE, package="boto3")))
"""
"""In place of the module that serves."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, _ = dist.plugin(os.environ, tmp_path_factory.mktemp("dist"))
    return made


@pytest.fixture
def server(archive: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(archive.parent))
    ) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_machine_without_python_runs_the_archive(
    app: App, archive: Path, server: str, engine: Path, tmp_path: Path
) -> None:
    assert archive.stat().st_size <= MOST_BYTES
    app.example("yaml", "yaml")
    _has_no_python(app, engine, tmp_path)
    _installs_what_has_the_right_checksum(app, archive, server)
    _runs_the_example_encrypted(app)
    _explains_a_mistake_in_the_program(app)
    _previews_the_tour(app)
    app.run(*INSTALL, "--file", str(archive), "--reinstall")
    (folder,) = (tmp_path / "home" / "plugins").glob(
        f"resource-squarecloud-v{version()}"
    )
    answer = first_answer(folder / PROGRAM)
    assert answer.version == version()
    assert answer.processor_seconds <= MOST_SECONDS, (
        "which a machine that is busy with other things does not lengthen"
    )
    _can_load_all_but_what_it_explains(folder)


INSTALL = ("plugin", "install", "resource", "squarecloud", version())


def _has_no_python(app: App, engine: Path, folder: Path) -> None:
    app.environment["PATH"] = f"{engine}:{language_hosts.YAML.ensure(os.environ)}"
    app.environment["PYTHONPATH"] = app.environment["PYTHONHOME"] = str(
        folder / "nothing"
    )
    for each in app.environment["PATH"].split(":"):
        assert list(Path(each).glob("python*")) == []


def _installs_what_has_the_right_checksum(app: App, archive: Path, server: str) -> None:
    install = (*INSTALL, "--server", server, "--checksum")
    assert "checksum" in app.run(*install, "0" * 64, fails=True)
    app.run(*install, hashlib.sha256(archive.read_bytes()).hexdigest())


def _runs_the_example_encrypted(app: App) -> None:
    """The snapshot is taken by the installed plugin, and its archive is one for a recipient."""
    recipient = pyrage.x25519.Identity.generate().to_public()
    project = app.stack.project / "Pulumi.yaml"
    encrypted = f"keepLast: 10\n      recipients: [{recipient}]"
    project.write_text(project.read_text().replace("keepLast: 10", encrypted))
    app.run("config", "set", "databaseId", DATABASE)
    assert f"{PROGRAM} from $PATH" not in app.up()
    (version_id,) = app.started()
    outputs = {
        "id": f"{DATABASE}/{version_id}",
        "engine": "postgres",
        "downloadUrl": "[secret]",
    }
    assert app.stack.outputs().items() >= outputs.items()
    (archived,) = (app.stack.project / "archives").rglob("*.zip.age")
    assert archived.read_bytes().startswith(b"age-encryption.org/v1")
    assert "3 unchanged" in app.up()


def _explains_a_mistake_in_the_program(app: App) -> None:
    """A value of another type, and a property that does not exist."""
    project = app.stack.project / "Pulumi.yaml"
    wrong = project.read_text().replace("keepLast: 10", "keepLast: many")
    project.write_text(wrong.replace("triggers:", "trigger:"))
    told = app.preview(fails=True)
    assert (
        "keepLast must be assigned a value of type `number`" in told
        or "not assignable" in told
    )
    assert "Property trigger does not exist on" in told


def _previews_the_tour(app: App) -> None:
    """The tour in YAML, in place of that program: every example of the schema, and every library that the plugin can use."""
    tour = (EXAMPLES / "tour" / "Pulumi.yaml").read_text()
    (app.stack.project / "Pulumi.yaml").write_text(
        tour.replace("name: tour", "name: yaml")
    )
    app.run(
        "config",
        "set",
        "--secret",
        "scratchConnection",
        "postgresql://drill@127.0.0.1/drill",
    )
    told = app.preview()
    assert {
        "Restore staging create",
        "Drill weekly create",
        "Archive offsite replace",
    } <= set(re.findall(r"squarecloud:index:(\w+ \w+ (?:create|replace))", told))


def _can_load_all_but_what_it_explains(folder: Path) -> None:
    """Whatever any call may load is there."""
    modules = [
        ".".join(file.relative_to(dist.PROJECT).with_suffix("").parts)
        for file in frozen_plugin.sources()
    ]
    (folder / "_internal" / "pulumi_snapshots" / "plugin" / "serve.py").write_text(
        IMPORTS
    )
    every = [*modules, *frozen_plugin.BY_NAME]
    done = subprocess.run(  # noqa: S603
        [folder / PROGRAM, *every],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(
        r"The plugin's archive cannot use boto3: install the plugin from a Python environment",
        done.stdout,
    )
