"""A language host for compiled TypeScript in the test's own process, for what Pulumi's last one in a Go module does not know.

    with NodeHost(environment) as client:
        app.run("up", "--yes", client)

That one stands between the program and the engine, and passes on no resource hooks.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = "node_modules/@pulumi/pulumi/cmd/run"
"""What starts a program, in the project's folder."""


class NodeHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Serves one engine after the other.

    Args:
        environment: of the programs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2))
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> str:
        """The option of `pulumi` that names it."""
        self._server.start()
        return f"--client=127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo()

    def GetRequiredPlugins(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return language_pb2.GetRequiredPackagesResponse()

    def About(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return language_pb2.AboutResponse()

    def Run(self, request: Any, _context: Any) -> Any:  # noqa: N802
        (engine,) = request.args
        folder = request.info.program_directory
        options = {
            "monitor": request.monitor_address,
            "engine": engine,
            "organization": request.organization,
            "project": request.project,
            "root-directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": folder,
            "parallel": str(request.parallel),
        }
        line = ["node", RUN, *(part for name, value in options.items() for part in (f"--{name}", value))]
        line += ["--dry-run"] if request.dryRun else []
        config = {"PULUMI_CONFIG": json.dumps(dict(request.config))}
        ended = subprocess.run(  # noqa: S603  a program of the tests
            [*line, "."], cwd=folder, env={**self._environment, **config}, check=False
        )
        return language_pb2.RunResponse(bail=ended.returncode != 0)
