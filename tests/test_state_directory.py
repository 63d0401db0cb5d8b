"""Where files that outlive a run lie: in the folder that the user names, or else in the user's own."""

import pwd

import pytest

from pulumi_snapshots.state_directory import state_directory


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        (
            {
                "SQUARECLOUD_STATE_DIR": "/mnt/s",
                "XDG_STATE_HOME": "/x",
                "HOME": "/home/u",
            },
            "/mnt/s",
        ),
        (
            {
                "SQUARECLOUD_STATE_DIR": "relative",
                "XDG_STATE_HOME": "/x",
                "HOME": "/home/u",
            },
            "/x/pulumi-snapshots",
        ),
        (
            {"SQUARECLOUD_STATE_DIR": "", "XDG_STATE_HOME": "/x", "HOME": "/home/u"},
            "/x/pulumi-snapshots",
        ),
        (
            {"XDG_STATE_HOME": "relative", "HOME": "/home/u"},
            "/home/u/.local/state/pulumi-snapshots",
        ),
        ({"HOME": "/home/u"}, "/home/u/.local/state/pulumi-snapshots"),
    ],
)
def test_the_state_directory_is_the_one_that_the_user_names(
    environment: dict[str, str], folder: str
) -> None:
    assert str(state_directory(environment)) == folder


def test_without_a_home_directory_the_path_is_relative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    # as in a container with an arbitrary user id
    monkeypatch.setattr(pwd, "getpwuid", is_unknown)
    assert not state_directory({}).is_absolute()
