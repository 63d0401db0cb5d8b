"""The virtual environment is made once, brought up to date when what it is made for changes, and repaired when it is broken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import environment


def interrupted(_: object = None) -> bool:
    raise KeyboardInterrupt


HAPPENS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda _: None, []),
    "other requirements": (
        lambda project: (project / "pyproject.toml").write_text("[project]\nx = 1"),
        ["install"],
    ),
    "an interrupted installation": (
        lambda project: (project / ".venv" / "made-for").unlink(),
        ["install"],
    ),
    "a broken Python": (
        lambda project: (project / ".venv" / "runs").unlink(),
        ["create", "install"],
    ),
}


@pytest.mark.parametrize("what", HAPPENS)
def test_the_next_run_does_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    done: list[str] = []
    venv = tmp_path / ".venv"
    (tmp_path / "pyproject.toml").write_text("[project]")

    def create(folder: Path, **_: Any) -> None:
        done.append("create")
        folder.mkdir(exist_ok=True)
        (folder / "runs").touch()

    def install() -> bool:
        done.append("install")
        return True

    for name, value in {
        "REQUIREMENTS": tmp_path / "pyproject.toml",
        "ENVIRONMENT": venv,
        "STAMP": venv / "made-for",
        "runs": (venv / "runs").exists,
        "install": interrupted,
    }.items():
        monkeypatch.setattr(environment, name, value)
    monkeypatch.setattr("venv.create", create)
    with pytest.raises(KeyboardInterrupt):
        environment.main()
    assert not (venv / "made-for").exists(), "it is not finished"
    monkeypatch.setattr(environment, "install", install)
    assert environment.main() == 0
    done.clear()
    happens, wanted = HAPPENS[what]
    happens(tmp_path)
    assert environment.main() == 0
    assert done == wanted
