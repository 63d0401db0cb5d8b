"""What a run loses where the installed SDK no longer offers what engine_access found in it; the fallbacks stand beside."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from pulumi_snapshots.dynamic import engine_access
from pulumi_snapshots.engine.messages import MessageRow, Messages
from pulumi_snapshots.engine.wording import PYTHON
from tests.support.servicer import CallFailedError, Servicer, failure, kept, urn
from tests.support.toy_provider import ToyProvider

A = urn("a")
B = urn("b")
Toy = Callable[..., Servicer]


@pytest.fixture(scope="module")
def shared() -> Iterator[Servicer]:
    """A process that was really started."""
    with Servicer(ToyProvider()) as running:
        yield running


@pytest.fixture
def servicer(shared: Servicer) -> Servicer:
    """A process that has said nothing yet in this test."""
    shared.forget()
    return shared


@pytest.fixture
def toy(forks: dict[str, str]) -> Toy:
    """Starts a process for this test alone."""
    return partial(Servicer, ToyProvider(), forks=forks)


@pytest.fixture
def own(toy: Toy) -> Iterator[Servicer]:
    """A process for this test alone, which may be told to end."""
    with toy() as running:
        yield running


@pytest.fixture
def broken(toy: Toy) -> Toy:
    """Starts a process whose SDK lacks something."""
    return lambda what, **env: toy(
        env={"TOY_BREAK": what, **env}, config={"toy:width": "10"}
    )


CALLS: dict[str, Callable[[Servicer, dict[str, Any]], Any]] = {
    "create": lambda servicer, inputs: servicer.create(A, inputs),
    "update": lambda servicer, inputs: servicer.update(A, "toy/1", {}, inputs),
    "refresh": lambda servicer, inputs: servicer.read(A, "toy/1", inputs, {}),
    "get": lambda servicer, inputs: servicer.read(A, "toy/1", None, inputs),
    "diff": lambda servicer, inputs: servicer.diff(
        A, "toy/1", {}, {**inputs, "diff": True}
    ),
    "delete": lambda servicer, inputs: servicer.delete(A, "toy/1", inputs),
}


# Messages and errors


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_progress_is_on_its_resource_s_row_and_an_error_is_its_text(
    servicer: Servicer, call: Callable[..., Any]
) -> None:
    text = "The service refused the key (401).\n  Set squarecloud:apiKey («ключ»)."
    error = failure(call, servicer, {"progress": ["sent", "accepted"], "fail": text})
    assert (error.code, error.message, error.kept) == ("UNKNOWN", text, None)
    assert servicer.progress(A) == ["sent", "accepted"]


def test_a_ci_log_gets_each_text_once_and_lasting_ones_under_their_resource(
    servicer: Servicer,
) -> None:
    waiting = ["waiting", "waiting", "found", "found", "waiting"]
    servicer.create(A, {"progress": waiting, "info": "forgotten", "warn": "two\nlines"})
    assert servicer.progress(A) == ["waiting", "found", "waiting"]
    assert servicer.diagnostics(A, "INFO") == ["forgotten"]
    assert servicer.diagnostics(A, "WARNING") == ["two\nlines"]
    assert servicer.printed == []


def test_a_proxy_in_the_environment_does_not_get_the_messages(toy: Toy) -> None:
    dead = "http://127.0.0.1:9"
    with toy(
        env={"http_proxy": dead, "grpc_proxy": dead, "no_proxy": None}
    ) as servicer:
        servicer.create(A, {"info": "here"})
        assert servicer.diagnostics(A) == ["here"]


def test_text_that_is_no_valid_unicode_still_arrives(servicer: Servicer) -> None:
    assert failure(servicer.create, A, {"surrogate": True}).message == "broken ? text"
    assert servicer.progress(A) == ["broken ? row"]
    assert servicer.diagnostics(A) == ["broken ? line"]


def test_a_bug_keeps_its_traceback_even_after_plain_errors(servicer: Servicer) -> None:
    failure(servicer.create, A, {"fail": "refused"})
    with pytest.raises(
        CallFailedError, match=r"toy_provider\.py(.|\n)*ZeroDivisionError: a bug"
    ):
        servicer.create(A, {"bug": True})


# Partial state


@pytest.mark.parametrize("name", ["create", "update", "refresh", "get"])
def test_what_was_begun_is_kept_with_its_reason(servicer: Servicer, name: str) -> None:
    inputs = {
        "keep": "still waiting\nthe next up goes on",
        "outputs": {"database": "a1", "nested": {"n": [1, 2]}, "big": "x" * 300_000},
        "secrets": {"url": "https://x", "deep": {"n": 1}},
    }
    partial = kept(CALLS[name], servicer, inputs)
    assert (partial.id, partial.refresh_before_update) == ("toy/pending", True)
    assert partial.reasons == ["still waiting\n\t  the next up goes on"]
    known = {
        "database": "a1",
        "nested": {"n": [1, 2]},
        "big": "x" * 300_000,
        "url": "https://x",
        "deep": {"n": 1},
    }
    assert {name: partial.outputs[name] for name in known} == known
    assert partial.secrets == {"url", "deep"}
    # So it can be updated and deleted, and a read keeps the inputs.
    assert partial.provider == servicer.serialized_provider
    assert kept(
        servicer.read, A, "toy/1", {"keep": "waiting"}, {"database": "a1"}
    ).inputs == {"database": "a1"}


def test_state_is_kept_beside_googles_own_clients(toy: Toy) -> None:
    with toy(env={"TOY_BREAK": "google"}) as servicer:
        assert kept(servicer.create, A, {"keep": "waiting"}).reasons == ["waiting"]


def test_outputs_that_cannot_be_kept_end_the_call_as_a_failure(
    servicer: Servicer,
) -> None:
    error = failure(
        servicer.create, A, {"keep": "still waiting", "unserialisable": True}
    )
    assert (error.kept, error.message) == (None, "not kept")


# Cancel


def test_an_interrupt_arrives_while_every_thread_waits(own: Servicer) -> None:
    calls = [
        own.start(own.create, urn(f"r{n}"), {"wait": True, "keep": "interrupted"})
        for n in range(8)
    ]
    own.wait_for(lambda: sum(bool(own.progress(urn(f"r{n}"))) for n in range(8)) == 4)
    own.cancel()
    for call in calls:
        assert kept(call.result, 30).reasons == ["interrupted"]
    own.cancel()  # as the engine does at a normal end
    assert own.create(A, {}).outputs["called"] == 2


# Width


@pytest.mark.parametrize(("width", "queued"), [(10, 0), (10, 6), (200, 0)])
def test_a_fleet_waits_side_by_side_also_what_came_before_the_widening(
    toy: Toy, width: int, queued: int
) -> None:
    with toy(config={"toy:width": str(width), "toy:queued": str(queued)}) as servicer:
        calls = [
            servicer.start(servicer.create, urn(f"r{n}"), {"wait": True})
            for n in range(width)
        ]
        servicer.wait_for(lambda: len(servicer.messages) == width, "all at a time")
        servicer.cancel()
        assert [call.result(30).id for call in calls] == ["toy/1"] * width


# Fallbacks: what the SDK lacks, and what then happens instead


@pytest.mark.parametrize("what", ["context", "frames"])
def test_without_a_context_nothing_is_kept_and_an_error_is_still_free_of_tracebacks(
    broken: Toy, what: str
) -> None:
    with broken(what) as servicer:
        error = failure(servicer.create, A, {"fail": "refused\n  twice"})
        assert error.message.strip() == "ProviderError: refused\n  twice"
        error = failure(servicer.create, A, {"keep": "still waiting"})
        assert (error.kept, error.message.strip()) == (None, "ProviderError: not kept")


def test_without_a_context_a_traceback_that_is_asked_for_is_shown(broken: Toy) -> None:
    with (
        broken("context", SQUARECLOUD_TRACEBACK="1") as servicer,
        pytest.raises(CallFailedError, match=r"toy_provider\.py(.|\n)*: refused"),
    ):
        servicer.create(A, {"fail": "refused"})


@pytest.mark.parametrize(
    ("what", "shown", "printed"),
    [
        ("frames", ["forgotten", "late"], []),  # at the stack, without a URN
        ("log", [], ["forgotten", "warning: late"]),  # without the engine's address
        ("engine", [], ["forgotten", "warning: late"]),  # which does not answer
    ],
)
def test_what_must_stay_is_shown_at_the_stack_or_printed(
    broken: Toy, what: str, shown: list[str], printed: list[str]
) -> None:
    with broken(what) as servicer:
        assert (
            servicer.create(
                A, {"progress": ["sent"], "info": "forgotten", "warn": "late"}
            ).id
            == "toy/1"
        )
        servicer.wait_for(lambda: servicer.printed == printed)
        assert servicer.diagnostics() == shown
        assert servicer.progress() == ["sent"] * bool(shown)


def test_without_the_server_no_cancel_comes_and_nothing_fails(broken: Toy) -> None:
    with broken("server") as servicer:
        servicer.cancel()
        assert servicer.create(A, {}).outputs["called"] == 0


def test_without_the_pool_four_at_a_time_still_work(broken: Toy) -> None:
    with broken("pool") as servicer:
        calls = [servicer.start(servicer.create, urn(f"r{n}"), {}) for n in range(10)]
        assert [call.result(30).id for call in calls] == ["toy/1"] * 10


def test_too_few_threads_cost_width_and_not_the_run(broken: Toy) -> None:
    with broken("threads") as servicer:
        calls = [
            servicer.start(servicer.create, urn(f"r{n}"), {"seconds": 0.1})
            for n in range(20)
        ]
        assert [call.result(120).outputs["width"] for call in calls] == [6] * 20


# In a program


def test_outside_of_a_provider_everything_is_the_plain_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert engine_access.current_call().urn is None
    row = MessageRow(Messages(engine_access._connect), "", PYTHON)
    row.progress("x")
    row.note("i")
    row.warn("w")
    row._messages.wait()
    assert capsys.readouterr() == ("i\n", "warning: w\n")


def test_the_argument_of_another_program_is_no_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", "127.0.0.1:1"])
    assert engine_access._find_engine_address() is None
    spec = SimpleNamespace(name="pulumi.dynamic.__main__")
    provider = SimpleNamespace(__spec__=spec)
    monkeypatch.setitem(sys.modules, "__main__", provider)
    assert engine_access._find_engine_address() == "127.0.0.1:1"


def test_no_message_waits_for_an_engine_that_stands_still() -> None:
    heard = list[str]()
    goes_on = threading.Event()

    def log(said: Any, **_: Any) -> None:
        goes_on.wait(10)
        heard.append(said.message)

    messages = Messages(lambda: SimpleNamespace(Log=log))
    messages.say("x")
    assert not heard
    goes_on.set()
    messages.wait()
    assert heard == ["x"]


@pytest.mark.parametrize(
    "wait_for", [Messages.wait, lambda messages: asyncio.run(messages.flush())]
)
def test_a_call_waits_for_its_messages_and_without_one_for_no_thread(
    wait_for: Callable[[Messages], None],
) -> None:
    heard = list[str]()
    goes_on = threading.Event()

    def log(said: Any, **_: Any) -> None:
        goes_on.wait(10)
        heard.append(said.message)

    def wait(messages: Messages) -> int:
        wait_for(messages)
        return len(heard)

    def senders() -> int:
        names = [each.name for each in threading.enumerate()]
        return sum(name.startswith("engine-messages") for name in names)

    before = senders()
    messages = Messages(lambda: SimpleNamespace(Log=log))
    wait(messages)
    assert senders() == before
    messages.say("x")
    messages.say("y")
    with ThreadPoolExecutor(1) as waiting:
        heard_at_end = waiting.submit(wait, messages)
        with pytest.raises(TimeoutError):
            heard_at_end.result(0.05)
        goes_on.set()
    assert heard_at_end.result() == len(["x", "y"])
    assert wait(messages) == len(["x", "y"]), "nothing is waited for twice"
