"""Whether the engine draws on a terminal, which cuts its rows."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether somebody may watch the run on a terminal, which cuts the engine's rows; a CI job has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True
