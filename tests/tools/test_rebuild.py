"""A user who rebuilds a release learns of each file whether it is what the sources make."""

import hashlib
from pathlib import Path

import pytest

from tools import rebuild
from tools.engine import Closed

ONE, TWO = (hashlib.sha256(each).hexdigest() for each in (b"one", b"two"))
PUBLISHED = f"{ONE}  a.whl\n{ONE}  sdks.zip\n{ONE}  plugin-darwin.tar.gz\n"


def test_a_file_that_differs_fails_and_one_of_another_machine_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(PUBLISHED)
    made = {"a.whl": ONE, "sdks.zip": ONE}
    monkeypatch.setattr(rebuild, "rebuild", lambda *_: made)
    assert rebuild.main(["v1.2.0", str(sums)]) == 0
    same, also, missing = capsys.readouterr().out.splitlines()
    assert same.split() == ["the", "same", "a.whl"]
    assert also.endswith("sdks.zip")
    assert missing == "not made here  plugin-darwin.tar.gz"
    made["sdks.zip"] = TWO
    assert rebuild.main(["v1.2.0", str(sums)]) == 1
    assert "DIFFERS        sdks.zip" in capsys.readouterr().out
    made.clear()
    assert rebuild.main(["v1.2.0", str(sums)]) == 1, "nothing was compared"


@pytest.mark.parametrize("text", ["", "<html>not found</html>\n", f"{ONE} a.whl\n"])
def test_what_are_no_sums_is_said_before_anything_is_made(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Closed):
        rebuild.read_sums(text)
    (tmp_path / "sums").write_text(text)
    assert rebuild.main(["v1.2.0", str(tmp_path / "sums")]) == 1
    assert rebuild.main(["v1.2.0", str(tmp_path / "missing")]) == 1
    assert "clone" not in capsys.readouterr().err


def test_a_tag_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Closed, match=r"v999\.0\.0"):
        rebuild.rebuild("v999.0.0", tmp_path / "sources")
