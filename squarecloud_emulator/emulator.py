"""The emulator: the service, what a test may do to it, and the app that serves it over HTTP."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from squarecloud_emulator.control.controlled_service import ControlledService

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class Emulator(ControlledService):
    """Square Cloud's snapshots on this machine.

    Serve `app` with any ASGI server, or call it inside a test.
    """

    @cached_property
    def app(self) -> ASGIApp:
        """The service as an ASGI app; ImportError if the extra `emulator` is not installed."""
        from squarecloud_emulator.app import emulator_app  # noqa: PLC0415 - only serving needs Starlette

        return emulator_app(self)
