"""`create_app()`: the parts put together, and what is said where they cannot be."""

import contextlib
import logging
from types import SimpleNamespace

import pytest

from app import Publisher, Settings, create_app, open_store
from app import factory as package
from app.capacity import SPARE_CONNECTIONS
from app.errors import SettingsError, StoreUnavailable
from app.factory import AGAIN, BOOT_ERROR
from tests.support.app import parts, serving, store_url

MEMORY = Settings(store="memory://")


@pytest.fixture
def made(monkeypatch):
    """Makes apps in an environment that says nothing, and closes them."""
    for name in ("HOST", "PORT", "WEB_CONCURRENCY", "BIDE_STORE", "BIDE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    apps = []

    def make(*arguments, **more):
        apps.append(create_app(*arguments, **more))
        return apps[-1]

    yield make
    for app in apps:
        parts(app).close()


def in_a_worker(monkeypatch, connections=16_000):
    """Let this process be a worker of gunicorn."""
    worker = SimpleNamespace(
        cfg=SimpleNamespace(worker_connections=connections, workers=1, is_ssl=False, set=lambda *_: None),
        age=1,
        sockets=[],
        alive=True,
        handle=lambda *_: None,
        handle_error=lambda *_: None,
        log=SimpleNamespace(error_log=logging.getLogger("gunicorn.error")),
        handle_request=lambda *_: None,
    )
    monkeypatch.setattr(package, "find_worker", lambda: worker)
    return worker


def test_an_app_runs_with_the_settings_given(made):
    assert parts(made(MEMORY)).settings is MEMORY


def test_without_settings_the_environment_is_read(made, monkeypatch):
    monkeypatch.setenv("BIDE_STORE", "memory://")
    monkeypatch.setenv("BIDE_MAX_POLLS", "7")
    assert parts(made()).subscriber.max_polls == 7


def test_defaults_stand_for_what_the_environment_does_not_say(made, monkeypatch, tmp_path):
    app = made(defaults={"data_dir": tmp_path / "data"})
    assert (tmp_path / "data" / "bide.db").exists()
    assert app.test_client().get("/readyz").status_code == 200


def test_a_publisher_in_another_process_needs_the_store_alone(tmp_path):
    url = store_url("sqlite", tmp_path)
    with serving(url) as app:
        store = open_store(url)
        id = Publisher(store).publish("news", {"hello": "world"})
        store.close()
        assert app.test_client().get("/subscribe/news?timeout=0").json["id"] == id


@pytest.mark.parametrize("url", ["postgres://x", "sqlite://x", "sqlite:///", "memory://x", "memory:", "nonsense"])
def test_a_store_that_does_not_exist_raises(url):
    with pytest.raises(SettingsError, match="BIDE_STORE="):
        create_app(Settings(store=url))


def test_a_store_that_cannot_be_opened_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        create_app(Settings(data_dir=tmp_path / "file"))


def test_in_a_worker_it_is_said_in_one_line_and_gunicorn_stops(monkeypatch, capsys):
    in_a_worker(monkeypatch)
    with pytest.raises(SystemExit) as caught:
        create_app(Settings(store="nonsense"))
    assert caught.value.code == BOOT_ERROR
    assert capsys.readouterr().err.count("\n") == 1


def test_a_log_that_cannot_be_written_changes_nothing_of_that(monkeypatch):
    in_a_worker(monkeypatch)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        with pytest.raises(SystemExit) as caught:
            create_app(Settings(store="nonsense"))
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert caught.value.code == BOOT_ERROR


@pytest.mark.parametrize(("age", "code"), [(1, BOOT_ERROR), (2, AGAIN)])
def test_a_store_that_cannot_be_opened_ends_gunicorn_only_at_its_start(monkeypatch, tmp_path, age, code):
    monkeypatch.setattr(package, "AGAIN_SECONDS", 0)
    in_a_worker(monkeypatch).age = age
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        create_app(Settings(data_dir=tmp_path / "file"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("connections", "polls"), [(100_000, 15_000), (1000, 1000 - SPARE_CONNECTIONS), (100, 90), (10, 9)]
)
def test_a_worker_keeps_connections_for_everything_but_polls(made, monkeypatch, connections, polls):
    in_a_worker(monkeypatch, connections)
    assert parts(made(MEMORY)).subscriber.max_polls == polls


def test_the_connections_of_a_worker_are_known_to_the_gate(made, monkeypatch):
    worker = in_a_worker(monkeypatch)
    handle = worker.handle
    app = made(MEMORY)
    assert worker.handle is not handle
    assert app.wsgi_app.__self__.connections is not None


def test_two_apps_in_one_process_keep_apart(made):
    one, other = made(MEMORY), made(MEMORY)
    one.test_client().post("/publish/news", json={"message": 1})
    assert other.test_client().get("/channels").json["active_channels"] == []


def test_a_closed_server_leaves_no_greenlet_running(tmp_path):
    with serving(store_url("sqlite", tmp_path)) as app:
        greenlets = list(parts(app).lifecycle._greenlets)
        assert greenlets
    assert all(greenlet.dead for greenlet in greenlets)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"jwt_secret": "short"}, "BIDE_JWT_SECRET cannot be used: give at least 32 bytes"),
        ({"jwks_url": "http://provider.example/keys"}, "BIDE_JWKS_URL cannot be used: give an https:// URL"),
        ({"jwt_secret": "s" * 32, "jwt_public_key": "shop.pub"}, "give one key, of one kind"),
    ],
)
def test_a_key_that_an_application_gives_is_judged_as_one_of_the_environment(made, given, says):
    with pytest.raises(SettingsError, match=says):
        made(Settings(store="memory://", **given))
