"""A backup that silently stopped is heard of: `--notify` reaches a monitor, whose URL nothing shows, and `status` waits for no dead service."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.hosts.monitor import Monitor, TroubleMonitor
from pulumi_snapshots.hosts.monitor_message import kind_of_monitor, message_of
from tests.cli.typed import Desk
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, OTHER_DATABASE, START, World, world

CHECKS = "https://hc.example/ping/5ec2e7-uuid"
NTFY = "https://ntfy.sh/5ec2e7-topic"
CREATE = ("create", DATABASE)


@dataclass
class Monitors(httpx.AsyncBaseTransport):
    """Monitors of every kind; they answer each message with the next of these statuses, 0 for no answer at all."""

    statuses: list[int] = field(default_factory=list)
    told: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.told.append((str(request.url), request.content.decode(), request.headers))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            raise httpx.ConnectError(f"cannot reach {request.url}")
        if status == 1:
            await anyio.sleep_forever()
        return httpx.Response(status, headers={"location": "https://elsewhere.example"})


def desk_of(w: World, tmp_path: Path, monitors: Monitors, **environment: str) -> Desk:
    return Desk(w, tmp_path, environment, monitors=monitors)


DRILL = f"drill {DATABASE} --scratch {'b' * 32} --overwrite-scratch --password-env PASSWORD --check 'select 1 == 1'"


NO_PRIORITY = [None] * 4
PRIORITIES = ["min", "low", "min", "high"]
HEARD = {
    CHECKS: (
        [f"{CHECKS}{end}" for end in ("/start", "", "/start", "/fail")],
        NO_PRIORITY,
    ),
    f"{CHECKS}/?tag=x": (
        [f"{CHECKS}{end}?tag=x" for end in ("/start", "", "/start", "/fail")],
        NO_PRIORITY,
    ),
    NTFY: ([NTFY] * 4, PRIORITIES),
    "ntfy+http://ours.example/t": (["http://ours.example/t"] * 4, PRIORITIES),
}


@pytest.mark.parametrize("url", HEARD)
@staged(world)
async def test_a_monitor_hears_the_start_the_end_and_the_reason(
    w: World, tmp_path: Path, url: str
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors)
    await desk.types(*CREATE, "--notify", url)
    w.emulator.advance(3600)
    w.emulator.fail_next_snapshot(DATABASE)
    failed = (await desk.types(*CREATE, "--notify", url)).failed()
    told = (
        [at for at, _, _ in monitors.told],
        [headers.get("priority") for _, _, headers in monitors.told],
    )
    assert told == HEARD[url]
    words = [text for _, text, _ in monitors.told]
    assert words[:3] == [
        f"squarecloud-snapshots create: {event}."
        for event in ("started", "done", "started")
    ]
    assert "SNAPSHOT_FAILED" in words[3]
    assert words[3] in failed.err
    assert "5ec2e7" not in failed.err
    assert all("authorization" not in headers for _, _, headers in monitors.told)


@pytest.mark.parametrize(
    "line", [f"create {DATABASE}", f"archive {DATABASE}/latest x.zip", "status", DRILL]
)
@staged(world)
async def test_every_job_of_a_backup_says_what_stopped_it(
    w: World, tmp_path: Path, line: str
) -> None:
    monitors = Monitors()
    desk = desk_of(
        w, tmp_path, monitors, SQUARECLOUD_NOTIFY=CHECKS, PASSWORD="secret-word"
    )
    del desk.environment["SQUARECLOUD_API_KEY"]
    (await desk.types(*shlex.split(line))).failed()
    (start, _, _), (end, why, _) = monitors.told
    assert (start, end) == (f"{CHECKS}/start", f"{CHECKS}/fail")
    assert "SQUARECLOUD_API_KEY" in why


@staged(world, snapshot_seconds=300.0)
async def test_a_monitor_hears_of_a_job_that_was_interrupted(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors()
    ended = await desk_of(w, tmp_path, monitors).interrupted(
        30.0, *CREATE, "--notify", CHECKS
    )
    ended.failed(
        f"hint: `squarecloud-snapshots create {DATABASE} --reuse-within 1h` on this machine",
        code=130,
    )
    assert monitors.told[-1][0] == f"{CHECKS}/fail"
    assert "interrupted" in monitors.told[-1][1]


ANSWERED = {
    (200, 500, 0, 200): "",
    (200, 404, 404, 404): "it answered with 404",
    (200, 302, 302, 302): "it answered with 302",
    (200, 0, 0, 0): "no answer (ConnectError)",
    (200, 1, 1, 1): "no answer in time",
    (1, 200, 200): "",
}


@pytest.mark.parametrize("statuses", ANSWERED)
@staged(world, snapshot_seconds=2.0)
async def test_a_monitor_that_does_not_hear_it_only_warns_and_its_url_is_not_shown(
    w: World, tmp_path: Path, statuses: tuple[int, ...]
) -> None:
    why = ANSWERED[statuses]
    monitors = Monitors([*statuses])
    began = anyio.current_time()
    ended = (
        await desk_of(w, tmp_path, monitors).types(*CREATE, "--notify", CHECKS)
    ).done
    assert anyio.current_time() - began < 60
    warning = f"warning: the URL of --notify did not hear of this: {why}" if why else ""
    assert [line for line in ended.err.splitlines() if "notify" in line] == [
        warning
    ] * bool(why)
    assert len(monitors.told) == len(statuses)
    assert "5ec2e7" not in ended.err + ended.out


@pytest.mark.parametrize(
    "url",
    [
        "hc.example/5ec2e7",
        "ftp://x/5ec2e7",
        "https:///5ec2e7",
        "https://x:99999/5ec2e7",
    ],
)
@staged(world)
async def test_what_is_no_url_is_refused_and_not_shown(
    w: World, tmp_path: Path, url: str
) -> None:
    ended = await desk_of(w, tmp_path, Monitors()).types(*CREATE, "--notify", url)
    assert (ended.code, w.emulator.journal) == (2, [])
    assert "must be a URL that begins with https:// or http://" in ended.err
    assert "5ec2e7" not in ended.err


# A service that does not answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"delay": 1000.0, "when": "before"},
        {"status": 503},
        {"drop": True},
        {"html": 502},
        {"no_connect": True},
    ],
)
@staged(world)
async def test_status_says_within_15_seconds_that_the_service_does_not_answer(
    w: World, tmp_path: Path, fault: dict[str, Any]
) -> None:
    w.fault(times=None, **fault)
    began = anyio.current_time()
    (await Desk(w, tmp_path).types("status")).failed("GET /users/me")
    assert anyio.current_time() - began < 15
    assert len(w.emulator.journal) <= 3


SLOW = {"status": "degraded", "message": "clusters\nare slow"}


OUTAGE = "; the service itself reports an outage (degraded"
QUIET: list[Any] = [
    {"status": "online", "message": "fine"},
    {"status": "?"},
    {"status": 7},
    ["degraded"],
]
ANSWERS = [
    (SLOW, f"{OUTAGE}: clusters are slow)"),
    ({"status": "degraded"}, f"{OUTAGE})"),
    *((each, "") for each in QUIET),
]


@pytest.mark.parametrize(("answer", "said"), ANSWERS)
@staged(world)
async def test_an_error_says_if_the_service_itself_reports_an_outage(
    w: World, tmp_path: Path, answer: Any, said: str
) -> None:
    w.fault(kind="service status", body=json.dumps(answer), times=None)
    w.fault(kind="me", status=503, code="CLUSTER_UNAVAILABLE", times=None)
    for _ in range(2):
        ended = await Desk(w, tmp_path).types("status")
        (error,) = [
            line for line in ended.err.splitlines() if line.startswith("Error: ")
        ]
        assert error.endswith(f"cluster is not available{said}.")
    asked = [each for each in w.emulator.journal if each.kind == "service status"]
    assert [each.key for each in asked] == ["none", "none"], (
        "the key is not shown to a route that needs none"
    )


DISCORD = "https://discord.com/api/webhooks/1234/5ec2e7-token"
SLACK = "https://hooks.slack.com/services/T1/B2/5ec2e7"
CHATS = {
    DISCORD: "content",
    DISCORD.replace("discord.com", "ptb.discord.com"): "content",
    DISCORD.replace("discord.com", "discordapp.com"): "content",
    SLACK: "text",
    "slack+https://chat.example/hooks/5ec2e7": "text",
}


def chat_texts(monitors: Monitors, url: str) -> list[str]:
    """The texts of the messages that a chat got, each in the chat's own form."""
    address = url.removeprefix("slack+")
    texts = []
    for to, body, headers in monitors.told:
        assert (to, headers["content-type"]) == (address, "application/json")
        message = json.loads(body)
        assert message.get("allowed_mentions", {"parse": []}) == {"parse": []}
        texts.append(message[CHATS[url]])
    return texts


@pytest.mark.parametrize("url", CHATS)
@staged(world)
async def test_a_chat_hears_of_a_failure_once_and_of_nothing_else(
    w: World, tmp_path: Path, url: str
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=url)
    (await desk.types(*CREATE)).done  # noqa: B018  it asserts
    assert not monitors.told
    w.emulator.advance(3600)
    w.emulator.fail_next_snapshot(DATABASE)
    failed = (await desk.types(*CREATE)).failed()
    (text,) = chat_texts(monitors, url)
    assert text.startswith("squarecloud-snapshots create: failed\n")
    assert "SNAPSHOT_FAILED" in text
    assert "5ec2e7" not in failed.err + text


@staged(world)
async def test_a_chat_hears_of_a_silence_once_until_it_is_over(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=DISCORD)
    status = ("status", DATABASE, "--max-age", "26h")
    for _ in range(3):  # no snapshot for 1 h, 25 h, 49 h
        w.emulator.advance(3600)
        (await desk.types(*status)).failed()
        w.emulator.advance(23 * 3600)
    (text,) = chat_texts(monitors, DISCORD)
    assert DATABASE in text
    (await desk.types(*CREATE)).done  # noqa: B018  it asserts
    (await desk.types(*status)).done  # noqa: B018  it asserts
    assert len(monitors.told) == 1
    w.emulator.advance(30 * 3600)
    (await desk.types(*status)).failed()
    assert len(monitors.told) == 2


@staged(world)
async def test_a_trouble_that_stays_is_reported_again_after_a_week(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=DISCORD)
    told = []
    for _ in range(9):
        (await desk.types("status", DATABASE)).failed()
        told.append(len(monitors.told))
        await w.clock.sleep(24 * 3600)
    assert told == [1] * 7 + [2] * 2


@staged(world, databases=(DATABASE, OTHER_DATABASE))
async def test_a_chat_hears_of_another_database_and_of_another_reason(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=DISCORD)
    for database in (DATABASE, OTHER_DATABASE, DATABASE):
        (await desk.types("status", database)).failed()
    assert len(monitors.told) == 2
    w.fault(kind="me", status=401, code="ACCESS_DENIED", times=None)
    (await desk.types("status", DATABASE)).failed()
    first, other, refused = chat_texts(monitors, DISCORD)
    assert (DATABASE in first, OTHER_DATABASE in other) == (True, True)
    assert "ACCESS_DENIED" in refused


@staged(world)
async def test_a_chat_that_was_down_hears_of_the_trouble_from_the_next_run(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors([500] * 3)
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=DISCORD)
    first = (await desk.types("status", DATABASE)).failed()
    assert "5ec2e7" not in first.err
    assert first.err.count("did not hear") == 1
    assert len(monitors.told) == 3
    for _ in range(2):
        second = (await desk.types("status", DATABASE)).failed()
        assert "did not hear" not in second.err
    assert len(monitors.told) == 4


@pytest.mark.parametrize("line", ["status --max-age 7d", f"create {DATABASE}"])
@staged(world, plan_ends_at=START + timedelta(days=3))
async def test_a_chat_hears_once_that_the_plan_ends(
    w: World, tmp_path: Path, line: str
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors)
    (await desk.types(*CREATE)).done  # noqa: B018  it asserts
    w.emulator.advance(2 * 3600)
    left = ("2 days ", "1 day ", "2")
    for each in left:
        ended = (await desk.types(*line.split(), "--notify", DISCORD)).done
        assert "The account's plan ends on" in ended.err
        assert f", in {each}" in ended.err
        w.emulator.advance(24 * 3600)
    (text,) = chat_texts(monitors, DISCORD)
    assert text.startswith("The end of the account's plan\nThe account's plan ends on")


@staged(world, plan_ends_at=START + timedelta(days=3))
async def test_a_monitor_that_only_knows_jobs_hears_nothing_of_the_plan(
    w: World, tmp_path: Path
) -> None:
    monitors = Monitors()
    desk = desk_of(w, tmp_path, monitors, SQUARECLOUD_NOTIFY=CHECKS)
    (await desk.types(*CREATE)).done  # noqa: B018  it asserts
    (await desk.types("status")).done  # noqa: B018  it asserts
    assert {to for to, _, _ in monitors.told} == {CHECKS, f"{CHECKS}/start"}


@pytest.mark.parametrize("url", [DISCORD, SLACK])
def test_a_chat_gets_no_mention_and_no_more_than_it_takes(url: str) -> None:
    message = message_of(
        url, "failed", "create: failed", "<!channel> @everyone " + "ä" * 5000
    )
    assert message is not None
    assert "5ec2e7" not in repr(message)
    content = json.loads(message.body)
    text = content.get("text") or content["content"]
    assert "<!channel>" not in text or content["allowed_mentions"] == {"parse": []}
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://discord.com/channels/1", "ping"),
        ("https://discord.com.evil.example/api/webhooks/1", "ping"),
        (CHECKS, "ping"),
        ("discord+http://127.0.0.1:8080/hook", "discord"),
        ("https://ntfy.sh.evil.example/topic", "ping"),
        ("https://hooks.slack.com.evil.example/services/T1/B2/x", "ping"),
    ],
)
def test_what_is_no_webhook_of_a_chat_gets_what_a_monitor_does(
    url: str, kind: str
) -> None:
    assert kind_of_monitor(url) == kind


@virtual
async def test_no_message_holds_a_password() -> None:
    monitors = Monitors()
    text = "cannot write to postgresql://app:hunter2-hunter2@db.example/shop"
    assert not await Monitor(monitors).tell(Clock(), DISCORD, "failed", "x", text)
    (told,) = chat_texts(monitors, DISCORD)
    assert "hunter2" not in told
    assert "db.example" in told


def remembers(folder: Path, job: str) -> bool:
    """Whether the only file in a state directory is about a job."""
    (file,) = folder.glob("heard/*")
    return file.name.startswith(hashlib.sha256(job.encode()).hexdigest()[:32])


@virtual
async def test_a_monitor_of_jobs_hears_of_a_trouble_and_of_its_end_once(
    tmp_path: Path,
) -> None:
    monitors = Monitors()
    heard = TroubleMonitor(CHECKS, tmp_path, Clock(), Monitor(monitors))
    for event in ("started", "done", "failed", "failed", "started", "done", "done"):
        assert not await heard.tell(event, "job", "Snapshot: said", "why")
    assert [to for to, _, _ in monitors.told] == [f"{CHECKS}/fail", CHECKS]
    assert not list(tmp_path.glob("heard/*"))  # noqa: ASYNC240  a moment


@virtual
async def test_a_chat_hears_of_a_trouble_each_time_if_nothing_can_be_remembered(
    tmp_path: Path,
) -> None:
    (tmp_path / "heard").write_text("no folder")
    monitors = Monitors()
    for folder in (tmp_path, tmp_path / "heard" / "below", Path("relative")):
        heard = TroubleMonitor(DISCORD, folder, Clock(), Monitor(monitors))
        for _ in range(2):
            assert not await heard.tell("failed", "job", "Snapshot: failed", "why")
    assert len(monitors.told) == 6


@virtual
async def test_changes_that_one_guard_holds_back_are_one_trouble(
    tmp_path: Path,
) -> None:
    monitors = Monitors()
    heard = TroubleMonitor(DISCORD, tmp_path, Clock(), Monitor(monitors))
    for what in ("update of Server shop", "delete of Bucket logs"):
        assert not await heard.tell(
            "failed", "guard", "Guard: failed", what, kind="ChangeHeldBack"
        )
    assert len(monitors.told) == 1
    assert not remembers(tmp_path, " guard"), "without the URL nobody can guess it"
    assert remembers(tmp_path, f"{DISCORD} guard")
