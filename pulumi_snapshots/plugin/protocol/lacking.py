"""The calls of the provider protocol that this plugin does not have, each with a text that says so."""

from __future__ import annotations

from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2_grpc


def _without(text: str) -> Any:
    """The method for a call that ends with `UNIMPLEMENTED`, as the engine expects of what a provider does not have."""

    async def refuse(_self: Any, _request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

    return refuse


class Lacking(provider_pb2_grpc.ResourceProviderServicer):
    """Answers them in the event loop: the SDK's own answers block it, and print a traceback that the engine shows."""

    Parameterize = _without("This package takes no parameters: give its name alone.")
    Call = _without("The resources of this package have no methods.")
    GetMapping = _without("This package maps the names of no other tool.")
    GetMappings = _without("This package maps the names of no other tool.")
