"""What the channel of `squarecloud:notify` hears of a whole `pulumi up`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.engine.stage import DATABASE, App, joined
from tests.support.chat import SECRET, Channel, channel

pytestmark = pytest.mark.engine

PROGRAM = """
from pulumi_snapshotsWAY import Guard
from servers import Server

guard = Guard("guard", "DATABASE", reuse_within=0)
guard.stack()
for name in ("shop", "blog", "wiki"):
    Server(name, "VALUE")
""".replace("DATABASE", DATABASE)


@pytest.fixture
def service() -> tuple[str, ...]:
    ends = datetime.now(UTC) + timedelta(days=5)
    return ("--paid-until", f"{ends:%Y-%m-%dT%H:%M:%SZ}")


@pytest.fixture
def chat() -> Iterator[Channel]:
    with channel() as one:
        yield one


@pytest.mark.parametrize("way", ["", ".plugin"])
def test_a_channel_hears_once_that_a_guard_has_no_snapshot_and_that_the_plan_ends(
    app: App, chat: Channel, way: str
) -> None:
    app.plug()
    program = PROGRAM.replace("WAY", way)
    app.program(program.replace("VALUE", "a"))
    app.run("config", "set", "--secret", "squarecloud:notify", chat.url)
    app.up()
    assert chat.texts == [], "nothing was guarded"
    app.program(program.replace("VALUE", "b"))
    app.fault("create", status=404, code="SNAPSHOT_FAILED")
    printed = []
    for _ in range(2):
        printed.append(app.up(fails=True))
        app.pass_time(600)
    texts = sorted(chat.texts)
    assert [text.partition("\n")[0] for text in texts] == [
        "Guard organization/app/dev/guard, before a change: failed",
        "The end of the account's plan",
    ]
    assert "update of Server " in texts[0]
    assert "could not capture the snapshot" in texts[0]
    assert "then the service keeps the newest snapshot" in texts[1]
    for each in printed:
        assert "warning: The account's plan ends on" in joined(each)
    app.mend()
    app.up()
    app.program(program.replace("VALUE", "c"))
    app.pass_time(600)
    app.fault("create", status=404, code="SNAPSHOT_FAILED")
    app.up(fails=True)
    assert len(chat.texts) == 3, "the trouble was over, and came again"
    assert SECRET not in "".join(printed) + app.state_file.read_text()
