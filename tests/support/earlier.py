"""What earlier versions have left: states, the schema of their SDKs. `tools/record_states.py` records it."""

import json
from pathlib import Path
from typing import Any

STATES = Path(__file__).parents[1] / "fixtures" / "states"
VERSIONS = sorted(folder.name for folder in STATES.iterdir() if folder.is_dir())


def read(version: str, *path: str) -> Any:
    return json.loads(STATES.joinpath(version, *path).read_text())
