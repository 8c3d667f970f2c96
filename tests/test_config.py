"""Settings: what the environment may say, and the one line that tells of what it may not."""

from pathlib import Path

import pytest

from app.config import Policy, Retention, RetentionRule, Settings
from app.errors import SettingsError
from app.stores import open_store

#: Variable, a value that does, the setting's name and what it then is.
GOOD = [
    ("HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("PORT", "65535", "port", 65535),
    ("PORT", " 80 ", "port", 80),
    ("BIDE_PRIVATE_ADDRESS", "10.0.0.1:8001", "private_address", ("10.0.0.1", 8001)),
    ("BIDE_PRIVATE_ADDRESS", "[0:0::1]:8001", "private_address", ("::1", 8001)),
    ("WEB_CONCURRENCY", "4", "workers", 4),
    ("BIDE_STORE", "memory://", "store", "memory://"),
    ("BIDE_DATA_DIR", "elsewhere", "data_dir", Path("elsewhere")),
    ("BIDE_RETENTION_EVENTS", "1", "retention_events", 1),
    ("BIDE_RETENTION_SECONDS", "1.5", "retention_seconds", 1.5),
    ("BIDE_MAX_CHANNELS", "7", "max_channels", 7),
    ("BIDE_IDEMPOTENCY_SECONDS", "60", "idempotency_seconds", 60),
    ("BIDE_MAX_IDEMPOTENCY_KEYS", "5", "max_idempotency_keys", 5),
    ("BIDE_MAX_REVOCATIONS", "3", "max_revocations", 3),
    ("BIDE_DEFAULT_TIMEOUT_SECONDS", "0", "default_timeout_seconds", 0),
    ("BIDE_MAX_TIMEOUT_SECONDS", "3600", "max_timeout_seconds", 3600),
    ("BIDE_DRAIN_SECONDS", "0.5", "drain_seconds", 0.5),
    ("BIDE_PRESENCE_SECONDS", "0", "presence_seconds", 0),
    ("BIDE_MAX_MESSAGE_BYTES", "1000", "max_message_bytes", 1000),
    ("BIDE_MAX_BODY_BYTES", "65536", "max_body_bytes", 65536),
    ("BIDE_MAX_POLLS", "1", "max_polls", 1),
    ("BIDE_CORS_ORIGINS", "https://a.example, http://b:81", "cors_origins", {"https://a.example", "http://b:81"}),
    ("BIDE_CORS_ORIGINS", "http://[::1]:81 https://a_b.c", "cors_origins", {"http://[::1]:81", "https://a_b.c"}),
    ("BIDE_CORS_ORIGINS", "", "cors_origins", frozenset()),
    ("BIDE_INSECURE", "1", "insecure", True),
    ("BIDE_INSECURE", "0", "insecure", False),
    ("BIDE_INSECURE", "", "insecure", False),
]

BAD = [
    ("PORT", ["0", "65536", "", "-1", "+1", "8e3", "8000.0", "\u0668", "1_000", "abc"]),
    (
        "BIDE_PRIVATE_ADDRESS",
        ["", "8001", ":8001", "localhost:8001", "::1:8001", "[127.0.0.1]:1", "10.0.0.1:0", "[::1]"],
    ),
    ("WEB_CONCURRENCY", ["0", "two"]),
    ("BIDE_RETENTION_EVENTS", ["0", "-1"]),
    ("BIDE_RETENTION_SECONDS", ["0", "0.9", "nan", "inf", "1e3", ".", "", "-1", "1.5.1", "9999999999"]),
    ("BIDE_RETENTION", ["jobs", "jobs=1", "jobs=1/", "jobs=/1", "jobs=0/1", "j,b=1/1", "=1/1", "a=1/1 b", "a*b=1/1"]),
    ("BIDE_MAX_REVOCATIONS", ["0", "100001", "many"]),
    ("BIDE_MAX_BODY_BYTES", ["0", "1M"]),
    ("BIDE_CORS_ORIGINS", ["*", "example.com", "ftp://x", "https://", "https://a/", "https://*.a", "null"]),
    # No browser would send these.
    (
        "BIDE_CORS_ORIGINS",
        ["https://A.example", "https://a:443", "http://a:80", "http://a:", "http://u@a", "http://\u00e4"],
    ),
    ("BIDE_INSECURE", ["yes", "true", "2"]),
]


def read(**environ):
    return Settings.from_environment(environ)


def test_an_empty_environment_is_a_server():
    settings = read()
    assert settings == Settings()
    assert settings.bind == "127.0.0.1:8000"
    assert settings.store_url == "sqlite:///data/bide.db"
    assert not settings.insecure
    assert not settings.cors_origins


@pytest.mark.parametrize(("variable", "text", "name", "value"), GOOD)
def test_a_variable_is_read_into_its_setting(variable, text, name, value):
    assert getattr(read(**{variable: text}), name) == value


@pytest.mark.parametrize(("variable", "text"), [(variable, text) for variable, texts in BAD for text in texts])
def test_a_value_that_cannot_be_used_is_told_in_one_line(variable, text):
    with pytest.raises(SettingsError) as caught:
        read(**{variable: text})
    line = str(caught.value)
    assert line.startswith(f"{variable}={text!r} cannot be used: give ")
    assert "\n" not in line


def test_the_environment_stands_above_the_defaults_given():
    settings = Settings.from_environment({"PORT": "81"}, port=80, data_dir=Path("beside"))
    assert settings.port == 81
    assert settings.data_dir == Path("beside")


def test_a_misspelt_variable_stops_the_start_and_is_guessed():
    with pytest.raises(SettingsError, match=r"BIDE_MAX_POLL is not a setting .*did you mean BIDE_MAX_POLLS\?"):
        read(BIDE_MAX_POLL="1")


def test_a_key_that_this_version_does_not_know_is_not_ignored():
    with pytest.raises(SettingsError, match=r"BIDE_ZZZZZZZ is not a setting of this version: see docs/operations\.md"):
        read(BIDE_ZZZZZZZ="secret")


def test_other_programs_variables_are_theirs():
    assert read(PATH="/bin", BIDEN="1", GUNICORN_CMD_ARGS="x") == Settings()


def test_the_default_hold_fits_into_the_longest():
    with pytest.raises(SettingsError, match=r"BIDE_DEFAULT_TIMEOUT_SECONDS=30 .*BIDE_MAX_TIMEOUT_SECONDS"):
        read(BIDE_MAX_TIMEOUT_SECONDS="20")
    assert read(BIDE_MAX_TIMEOUT_SECONDS="30").max_timeout_seconds == 30


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_private_address_is_another_one(host):
    with pytest.raises(SettingsError, match=r"BIDE_PRIVATE_ADDRESS=\[::1\]:81 .*another address than HOST and PORT"):
        read(HOST=host, PORT="81", BIDE_PRIVATE_ADDRESS="[::1]:81")
    assert read(HOST=host, PORT="81", BIDE_PRIVATE_ADDRESS="127.0.0.1:81").private_address == ("127.0.0.1", 81)


def test_a_message_fits_into_a_body():
    with pytest.raises(SettingsError, match=r"BIDE_MAX_MESSAGE_BYTES=65536 .*BIDE_MAX_BODY_BYTES"):
        read(BIDE_MAX_BODY_BYTES="65535")


def test_what_one_worker_keeps_to_itself_is_no_store_for_several():
    with pytest.raises(SettingsError, match=r"WEB_CONCURRENCY=2 .*BIDE_STORE=memory://"):
        read(BIDE_STORE="memory://", WEB_CONCURRENCY="2")
    assert read(BIDE_STORE="memory://", WEB_CONCURRENCY="1").workers == 1
    assert read(BIDE_STORE="sqlite:///memory:.db", WEB_CONCURRENCY="2").workers == 2


def test_retention_rules_are_read_in_their_order():
    settings = read(BIDE_RETENTION=" jobs.*=10000/604800  news=5/60.5 ")
    assert settings.retention == (
        RetentionRule("jobs.*", Retention(10000, 604800)),
        RetentionRule("news", Retention(5, 60.5)),
    )


def test_the_first_rule_that_matches_decides():
    rules = (RetentionRule("a.*", Retention(1, 1)), RetentionRule("a.b", Retention(2, 2)))
    policy = Policy(rules, default=Retention(3, 3))
    assert policy.retention("a.b").events == 1
    assert policy.retention("b").events == 3


def test_the_policy_is_the_settings_part_that_a_store_keeps():
    settings = read(
        BIDE_RETENTION="a=1/2",
        BIDE_RETENTION_EVENTS="3",
        BIDE_RETENTION_SECONDS="4",
        BIDE_MAX_CHANNELS="5",
        BIDE_IDEMPOTENCY_SECONDS="6",
        BIDE_MAX_IDEMPOTENCY_KEYS="7",
    )
    assert settings.policy == Policy((RetentionRule("a", Retention(1, 2)),), Retention(3, 4), 5, 6, 7)


def test_the_defaults_agree_with_the_policys():
    assert Settings().policy == Policy()


def test_a_head_is_kept_for_an_hour_at_least():
    assert Retention(1, 60).head_seconds == 3600
    assert Retention(1, 86400).head_seconds == 86400


@pytest.mark.parametrize(
    ("host", "bind"),
    [("::1", "[::1]:8000"), ("[::]", "[::]:8000"), ("localhost", "localhost:8000"), ("0.0.0.0", "0.0.0.0:8000")],
)
def test_an_address_is_bound_as_gunicorn_takes_it(host, bind):
    assert read(HOST=host).bind == bind


def test_a_data_folder_may_be_absolute():
    assert read(BIDE_DATA_DIR="/srv/bide").store_url == "sqlite:////srv/bide/bide.db"


def test_a_store_is_taken_before_the_data_folder():
    assert read(BIDE_DATA_DIR="x", BIDE_STORE="memory://").store_url == "memory://"


@pytest.mark.parametrize("name", ["100%41", "what?"])
def test_any_folder_may_be_the_data_folder(name, tmp_path):
    open_store(Settings(data_dir=tmp_path / name).store_url).close()
    assert (tmp_path / name / "bide.db").exists()


def test_a_number_is_in_its_bounds_however_it_is_written():
    with pytest.raises(SettingsError):
        read(PORT="0" * 19 + "1" + "99999")
