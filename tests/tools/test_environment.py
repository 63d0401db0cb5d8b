from pathlib import Path

import pytest

from tools import environment


class Steps:
    """Stands for pip and venv: notes what was done, and fails where it is told to."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.done: list[str] = []
        self.works = True
        self.interrupted = False
        self.installs = True

    def runs(self) -> bool:
        return self.works and (self.project / ".venv").exists()

    def install(self) -> bool:
        self.done.append("install")
        if self.interrupted:
            raise KeyboardInterrupt
        return self.installs

    def create(self, folder: Path, *, clear: bool, with_pip: bool) -> None:
        assert clear
        assert with_pip
        folder.mkdir(exist_ok=True)
        self.works = True
        self.done.append("create")

    def next(self) -> list[str]:
        done, self.done = self.done, []
        return done


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]")
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path / "pyproject.toml")
    monkeypatch.setattr(environment, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / "made-for")
    monkeypatch.setattr(environment, "runs", steps.runs)
    monkeypatch.setattr(environment, "install", steps.install)
    monkeypatch.setattr("venv.create", steps.create)
    return steps


def test_environment_is_made_once(steps: Steps) -> None:
    assert environment.main() == 0
    assert steps.next() == ["create", "install"]
    assert environment.main() == 0
    assert steps.next() == []


def test_changed_requirements_are_installed_into_it(steps: Steps) -> None:
    environment.main()
    steps.next()
    environment.REQUIREMENTS.write_text("[project]\ndependencies = []")
    assert environment.main() == 0
    assert steps.next() == ["install"]


def test_interrupted_installation_is_finished_by_the_next_run(steps: Steps) -> None:
    steps.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        environment.main()
    steps.interrupted = False
    steps.next()
    assert environment.main() == 0
    assert steps.next() == ["install"]


def test_environment_that_does_not_run_is_made_again(steps: Steps) -> None:
    environment.main()
    steps.next()
    steps.works = False
    assert environment.main() == 0
    assert steps.next() == ["create", "install"]
