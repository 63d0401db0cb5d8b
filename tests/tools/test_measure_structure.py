from pathlib import Path

from tools import measure_structure as measure

PACKAGE = Path(__file__).resolve().parents[2] / measure.PACKAGE


def test_imports_are_found_however_they_are_written(tmp_path: Path) -> None:
    package = tmp_path / "package"
    written = {
        "__init__.py": "from package.room.one import Name\n",
        "room/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.room import two\n",
        "room/two.py": "def late():\n    import package.room.three\n    raise AssertionError\n",
        "room/three.py": "from .one import Name\nfrom package.room.four import Name\n",
        "room/four.py": "import os\n",
    }
    for name, text in written.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    files = measure.files_of(package)
    assert {name: file.uses for name, file in files.items()} == {
        "package": {"package.room.one"},
        "package.room.one": {"package.room.two"},
        "package.room.two": {"package.room.three"},
        "package.room.three": {"package.room.one", "package.room.four"},
        "package.room.four": set(),
    }
    assert measure.circles(files) == [["package.room.one", "package.room.three", "package.room.two"]]
    assert [(file.lazy, file.assertions) for file in files.values()].count((1, 1)) == 1


def test_a_create_is_counted_from_its_call_to_its_answer() -> None:
    found = measure.measured_create(PACKAGE, measure.DATABASES[:1])
    assert any(each.startswith("POST") for each in found["requests"])
    assert 0 < found["to_post"]["functions"] < found["whole"]["functions"]
    assert found["to_post"]["edits of the ledger"] > 0
