"""What a channel hears of a program's resources: a failure once, by each way to the engine, and nothing that is secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dynamic.conftest import DATABASE, NAMES, PROVIDERS, Place, Serve
from tests.dynamic.test_without_requests import GOOD, ID, STATE
from tests.support.chat import SECRET, Channel, channel
from tests.support.servicer import NO_KEY, PLENTY, Servicer, failure, kept

KIND = "Snapshot"
PACE = PLENTY
SERVICE = ("--snapshot-seconds", "0", "--soft-deadline", "0.1")
NAME = NAMES[KIND]
TOKEN = "squarecloud:notify"


@pytest.fixture
def chat() -> Iterator[Channel]:
    with channel() as one:
        yield one


def fails(servicer: Servicer) -> str:
    """The text of an error that comes at once: there is no key."""
    return failure(servicer.create, NAME, GOOD[KIND]).message


def shown(servicer: Servicer) -> str:
    return f"{servicer.messages} {servicer.printed}"


@pytest.mark.parametrize("kind", PROVIDERS)
def test_every_kind_of_resource_reports_its_failure_once(
    serve: Serve, chat: Channel, kind: str
) -> None:
    for _ in range(2):
        with serve(env=NO_KEY, config={TOKEN: chat.url}) as servicer:
            each = servicer.of(PROVIDERS[kind])
            told = failure(each.create, NAMES[kind], GOOD[kind]).message
            assert SECRET not in shown(servicer) + told
            (text,) = map(each._text, chat.texts)
            title, _, why = text.partition("\n")
            assert title == f"{kind} 'x' of project/dev: failed"
            assert why == told
            assert "never-shown" not in text


def test_a_trouble_that_is_over_is_reported_when_it_comes_again(
    serve: Serve, place: Place, chat: Channel
) -> None:
    config = {TOKEN: chat.url}
    env = {**place.emulator.environment, **PACE}
    for count in (1, 2):
        for _ in range(2):
            with serve(env=NO_KEY, config=config) as servicer:
                fails(servicer)
        with serve(env=env, config=config) as servicer:
            servicer.create(NAME, {"database_id": place.database})
            place.emulator.control("clock", {"advance": 200})
        assert len(chat.texts) == count


def test_one_kind_of_error_is_one_trouble_whatever_its_words(
    serve: Serve, place: Place, chat: Channel
) -> None:
    env = {**place.emulator.environment, **PACE}
    for code in ("NEW_CODE", "ANOTHER_CODE"):
        place.fault("create", status=400, code=code)
        with serve(env=env, config={TOKEN: chat.url}) as servicer:
            failure(servicer.create, NAME, {"database_id": place.database})
        place.emulator.control("clock", {"advance": 200})
    (text,) = chat.texts
    assert "NEW_CODE" in text


def test_the_same_resource_of_another_stack_is_another_trouble(
    serve: Serve, chat: Channel
) -> None:
    with serve(env=NO_KEY, config={TOKEN: chat.url}) as servicer:
        for stack in ("dev", "prod"):
            failure(servicer.create, NAME.replace("dev", stack), GOOD[KIND])
    titles = [text.partition("\n")[0] for text in chat.texts]
    assert titles == [
        f"{KIND} 'x' of project/{stack}: failed" for stack in ("dev", "prod")
    ]


def test_a_snapshot_that_is_not_there_in_time_is_reported_with_what_is_under_way(
    serve: Serve, place: Place, chat: Channel
) -> None:
    database = place.database
    place.emulator.control(
        f"databases/{database}", {"next_snapshot_seconds": 600}, "PATCH"
    )
    inputs = {"database_id": database, "timeout": "1s"}
    env = {**place.emulator.environment, **PACE}
    with serve(env=env, config={TOKEN: chat.url}) as servicer:
        partial = kept(servicer.create, NAME, inputs)
    (text,) = chat.texts
    first, _, _ = partial.reasons[0].partition("\n")
    assert text.startswith(f"{KIND} 'x' of project/dev: failed\n{first}")
    assert "the next `pulumi up` keeps waiting" in text


def test_a_channel_that_is_down_changes_nothing_and_leaves_one_line(
    serve: Serve, idle: Servicer, chat: Channel
) -> None:
    chat.status = 500
    without = fails(idle)
    with serve(env={**NO_KEY, "SQUARECLOUD_NOTIFY": chat.url}) as servicer:
        assert [fails(servicer) for _ in range(2)] == [without] * 2
        texts = [each.text for each in servicer.messages]
        (line,) = [text for text in texts if "did not hear" in text]
        assert "it answered with 500" in line
        assert SECRET not in shown(servicer)
    assert (chat.tried, chat.texts) == (6, [])


def test_a_run_that_succeeds_says_nothing_and_its_state_has_no_webhook(
    serve: Serve, place: Place, chat: Channel, tmp_path: Path
) -> None:
    env = {**place.emulator.environment, **PACE}
    with serve(env=env, config={TOKEN: chat.url}) as place.servicer:
        made = place.servicer.create(NAME, {"database_id": place.database})
        assert SECRET not in str(made) + place.servicer.serialized_provider
    assert chat.tried == 0
    assert not [*tmp_path.rglob("heard")]


def test_a_webhook_that_is_none_is_refused_and_not_shown(serve: Serve) -> None:
    with serve(env=NO_KEY, config={TOKEN: f"ftp://{SECRET}"}) as servicer:
        told = failure(servicer.create, NAME, GOOD[KIND]).message
        assert "must be a URL that begins with https:// or http://" in told
        assert SECRET not in told + shown(servicer)


def test_a_call_that_sends_nothing_works_though_the_webhook_is_none(
    serve: Serve,
) -> None:
    with serve(env=NO_KEY, config={TOKEN: f"ftp://{SECRET}"}) as servicer:
        inputs = {"database_id": DATABASE, "timeout": "2h"}
        updated = servicer.update(NAME, ID[KIND], STATE[KIND], inputs)
        assert updated.outputs["version_id"] == STATE[KIND]["version_id"]
        assert SECRET not in shown(servicer)
