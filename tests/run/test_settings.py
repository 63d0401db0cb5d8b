"""Settings: config wins over the environment, an error names the setting and its source, and the key is never shown."""

from typing import Any

import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.ledger import place
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import ApiKey, MissingKey, Settings, SettingsError
from tests.support.failing import fails_with
from tests.support.virtual import virtual
from tests.support.world import ledger_of

KEY = "sq-" + "k3y" * 30
NAMES = {
    "api_key": ("squarecloud:apiKey", "SQUARECLOUD_API_KEY", KEY, ApiKey(KEY)),
    "api_url": (
        "squarecloud:apiUrl",
        "SQUARECLOUD_API_URL",
        "https://a.example/v2/",
        "https://a.example/v2",
    ),
    "snapshots_url": (
        "squarecloud:snapshotsUrl",
        "SQUARECLOUD_SNAPSHOTS_URL",
        "http://[::1]:8080",
        "http://[::1]:8080",
    ),
    "requests_per_minute": (
        "squarecloud:requestsPerMinute",
        "SQUARECLOUD_REQUESTS_PER_MINUTE",
        "60",
        60,
    ),
    "requests_for_others": (
        "squarecloud:requestsForOthers",
        "SQUARECLOUD_REQUESTS_FOR_OTHERS",
        "0",
        0,
    ),
    "first_poll_after": (
        "squarecloud:firstPollAfter",
        "SQUARECLOUD_FIRST_POLL_AFTER",
        "0s",
        0.0,
    ),
    "poll_every": ("squarecloud:pollEvery", "SQUARECLOUD_POLL_EVERY", "10s", 10.0),
    "guard": ("squarecloud:guard", "SQUARECLOUD_GUARD", "off", "off"),
    "listing_cache": (
        "squarecloud:listingCache",
        "SQUARECLOUD_LISTING_CACHE",
        "kept",
        "kept",
    ),
    "shared_state": (
        "squarecloud:sharedState",
        "SQUARECLOUD_SHARED_STATE",
        " s3://b-1/a/b/ ",
        "s3://b-1/a/b",
    ),
    "block_wait": ("squarecloud:blockWait", "SQUARECLOUD_BLOCK_WAIT", "1h", 3600.0),
}


def error_of(config: dict[str, Any], environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read(config, environment)
    return PYTHON.error_text(caught.value)


def test_the_defaults_are_the_services_own_limits() -> None:
    assert Settings.read({}, {}) == Settings()
    assert Settings().api_url == "https://api.squarecloud.app/v2"
    assert Settings().requests_per_minute == 30
    assert Settings().own_requests == 27, "some are left to other users of the account"


@pytest.mark.parametrize("name", NAMES)
def test_config_wins_over_the_environment(name: str) -> None:
    config_key, variable, text, value = NAMES[name]
    assert getattr(Settings.read({config_key: text}, {}), name) == value
    assert getattr(Settings.read({}, {variable: text}), name) == value
    assert (
        getattr(Settings.read({config_key: text}, {variable: "\n bad \n"}), name)
        == value
    )
    assert getattr(Settings.read({config_key: ""}, {variable: text}), name) == value, (
        "an empty one is none"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_setting_is_named_with_its_source(name: str) -> None:
    config_key, variable, text, _ = NAMES[name]
    assert error_of({config_key: "a bad one"}, {variable: text}).startswith(
        f"{config_key} must be "
    )
    assert error_of({}, {variable: "a bad one"}).startswith(f"{variable} must be ")


def test_a_misspelt_setting_is_not_ignored() -> None:
    key = "squarecloud:sharedState"
    variable = "SQUARECLOUD_SHARED_STATE"
    for wrong in ("squarecloud:sharedstate", "squarecloud:shared_state"):
        assert (
            error_of({wrong: "s3://bucket/x"}, {})
            == f"{wrong} is not a setting: it is called {key}."
        )
        assert (
            Settings.read({wrong: "s3://bucket/x", key: "/srv"}, {}).shared_state
            == "/srv"
        )
    for wrong in (
        "SQUARECLOUD_SHAREDSTATE",
        "squarecloud_shared_state",
        "SQUARE_CLOUD_SHARED_STATE",
    ):
        assert (
            error_of({}, {wrong: "s3://bucket/x"})
            == f"{wrong} is not a setting: it is called {variable}."
        )
        assert (
            Settings.read({}, {wrong: "s3://bucket/x", variable: "/srv"}).shared_state
            == "/srv"
        )
    assert Settings.read({}, {"SQUARECLOUD_OF_ANOTHER_TOOL": "x"}) == Settings()


def test_a_shared_folder_that_cannot_be_looked_at_is_named_at_its_first_use() -> None:
    assert (
        Settings.read({"squarecloud:sharedState": "/" + "x" * 300}, {}).shared_state
        == "/" + "x" * 300
    )


def test_white_space_around_a_key_is_ignored() -> None:
    for around in (" {}", "{}\n", "\t{}\r\n", "\u00a0{} "):
        assert Settings.read(
            {}, {"SQUARECLOUD_API_KEY": around.format(KEY)}
        ).api_key == ApiKey(KEY)


def test_the_longest_key_works_and_a_missing_one_says_so() -> None:
    assert (
        Settings.read({"squarecloud:apiKey": "k" * 1024}, {}).required_key().value
        == "k" * 1024
    )
    with fails_with(MissingKey, r"squarecloud:apiKey` or in SQUARECLOUD_API_KEY"):
        Settings.read({}, {}).required_key()


BAD_URLS = [
    *(
        "api.squarecloud.app/v2",
        "ftp://host",
        "https://",
        "https:///v2",
        "//host",
        "x",
        "https:host",
    ),
    *(
        "http://api.squarecloud.app/v2",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
    ),
    *(
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://0.0.0.0",
        "http://127.0.0.2",
    ),
    *(
        "https://user:sesame@host/v2",
        "https://user@host",
        "https://:sesame@host",
        "https://@host",
        "https://host\\@evil.example",
    ),
    *(
        "https://host?x=1",
        "https://host/v2?",
        "https://host/v2#",
        "https://host#x",
        "https://host/%2e%2e",
    ),
    *(
        "https://host:70000",
        "https://host:port",
        "https://host:-1",
        "https://[::1",
        "https://::1",
        "http://[::1]x",
    ),
    *(
        "https://ho st",
        "https://host/a b",
        "https://ho\nst",
        "https://ho\tst/v2",
        "https://host\x00",
    ),
    *(
        "https://h\u00f6st",
        "https://api.squarecloud.app\uff0fv2",
        "https://api\u3002squarecloud.app",
        "https://a\u202eb",
    ),
    *("https://a..b", "https://" + "a" * 64),
]


BAD_KEYS = [
    *(
        f"Bearer {KEY}",
        f"{KEY}\n{KEY}",
        f"{KEY}\x00",
        f"{KEY}é",
        f"\u200b{KEY}",
        f"\ufeff{KEY}",
        "k" * 1025,
        " ",
        "\n",
    ),
]
NUMBERS = ["0", "-1", "1.5", "nan", "inf", "many", " ", "100001", True, [], "9" * 400]
DURATIONS = ["-1", "soon", "25h", "nan", True, float("inf"), "1e9"]
PLACES = [
    "b/prefix",
    "s3:/b/prefix",
    "s3://",
    "s3://b/p",
    "s3://b-1/../a",
    "https://b-1/a",
    "file://host/a",
]
WRONG: list[tuple[str, list[Any], str]] = [
    ("apiKey", BAD_KEYS, "must be the bare API key"),
    ("apiUrl", BAD_URLS, "https"),
    ("requestsPerMinute", NUMBERS, "a whole number of requests, from 2 to 100000"),
    *(
        (name, DURATIONS, "must be ")
        for name in ("firstPollAfter", "pollEvery", "blockWait")
    ),
    *((name, ["0"], "longer than zero") for name in ("pollEvery", "blockWait")),
    ("sharedState", PLACES, "must "),
    ("sharedState", [3], "must be a string"),
    ("sharedState", [__file__], "must be a folder, not a file"),
]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [(name, value, why) for name, values, why in WRONG for value in values],
    ids=ascii,
)
def test_a_wrong_value_is_refused_and_no_secret_of_it_shown(
    name: str, value: Any, why: str
) -> None:
    """An address could leak the key."""
    text = error_of({f"squarecloud:{name}": value}, {})
    assert text.startswith(f"squarecloud:{name} must ")
    assert why in text
    assert KEY not in text
    assert "sesame" not in text


GOOD_URLS = [
    *(
        "https://api.squarecloud.app/v2",
        "https://host",
        "https://host.",
        "https://HOST:8443/a/b",
        "https://10.0.0.1",
    ),
    *(
        "https://[2001:db8::1]:443/v2",
        "http://[::1]:8080/v2",
        "http://127.0.0.1:80",
        "http://localhost:1",
        "HTTP://LOCALHOST",
    ),
    *("https://xn--hst-sna.example", "https://my_host/v2"),
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_good_address_works(url: str) -> None:
    settings = Settings.read(
        {"squarecloud:apiUrl": f" {url}/ ", "squarecloud:apiKey": KEY}, {}
    )
    assert settings.api_url == url

    @virtual
    async def run() -> None:
        await Session(settings, ledger_of(Clock())).close()

    run()


def test_a_bucket_without_its_library_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, "find_spec", lambda _: None)
    error = error_of({}, {"SQUARECLOUD_SHARED_STATE": "gs://b-1/a"})
    assert "SQUARECLOUD_SHARED_STATE needs obstore" in error
    assert pip_install("archive") in error
    assert (
        Settings.read({}, {"SQUARECLOUD_SHARED_STATE": "/mnt/a/"}).shared_state
        == "/mnt/a"
    )


@virtual
async def test_the_key_is_shown_nowhere() -> None:
    settings = Settings.read({"squarecloud:apiKey": KEY}, {})
    session = Session(settings, ledger_of(Clock()))
    for thing in (
        settings,
        settings.api_key,
        session,
        session.client,
        session.rate_limiter,
    ):
        assert KEY not in f"{thing!r} {thing!s} {thing:}"
    await session.close()


def test_a_part_of_the_budget_is_left_to_others() -> None:
    for budget, others, own in (
        ("60", None, 54),
        ("9", None, 9),
        ("30", "0", 30),
        ("30", "28", 2),
    ):
        config = {
            "squarecloud:requestsPerMinute": budget,
            "squarecloud:requestsForOthers": others,
        }
        assert Settings.read(config, {}).own_requests == own


def test_a_setting_that_leaves_too_few_requests_for_a_restore_is_refused() -> None:
    error = error_of({}, {"SQUARECLOUD_REQUESTS_FOR_OTHERS": "29"})
    assert "squarecloud:requestsForOthers" in error
    assert (
        "must be at least 2 less than squarecloud:requestsPerMinute, which is 30"
        in error
    )
