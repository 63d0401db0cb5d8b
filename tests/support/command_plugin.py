"""Stands in for Pulumi's Command provider: its `command:local:Command`, which writes down what it would run."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": {"type": "string"}}
INPUTS = {"create": TEXT, "update": TEXT, "delete": TEXT, "triggers": TEXTS}
SCHEMA = {
    "name": "command",
    "version": "1.0.0",
    "resources": {
        "command:local:Command": {"inputProperties": INPUTS, "properties": INPUTS}
    },
}


def plugged(folder: Path, python: str) -> Path:
    """The folder in which an engine finds it, run by this Python."""
    program = folder / "pulumi-resource-command"
    program.write_text(f'#!/bin/sh\nexec {python} {__file__} "$@"\n')
    program.chmod(0o755)
    return folder


class Command(provider_pb2_grpc.ResourceProviderServicer):
    """What the engine asks."""

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="1.0.0")

    def GetSchema(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(SCHEMA))

    def Configure(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    CheckConfig = Check  # type: ignore[assignment]  # the SDK's types are of both kinds of server

    def Diff(self, request: Any, _context: Any) -> Any:
        same = request.old_inputs.fields["triggers"] == request.news.fields["triggers"]
        kinds = provider_pb2.DiffResponse
        return (
            kinds(changes=kinds.DIFF_NONE)
            if same
            else kinds(changes=kinds.DIFF_SOME, replaces=["triggers"])
        )

    def Create(self, request: Any, _context: Any) -> Any:
        _note("create", request)
        return provider_pb2.CreateResponse(id="done", properties=request.properties)

    def Delete(self, request: Any, _context: Any) -> Any:
        _note("delete", request)
        return empty_pb2.Empty()

    def Cancel(self, _request: Any, _context: Any) -> Any:
        return empty_pb2.Empty()


def _note(what: str, request: Any) -> None:
    if not getattr(request, "preview", False):
        with Path("done").open("a") as file:  # in the project's folder
            file.write(f"{what} {request.urn.rpartition('::')[2]}\n")


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Command(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)  # noqa: T201  what the engine waits for
    server.start()
    server.wait_for_termination()
    os._exit(0)
