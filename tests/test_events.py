"""An event's bytes, and the four forms of a page, with and without events and gaps."""

import json

import msgspec
import pytest

from app.events import Event, Page, cursor_text

EVENT = Event("news", 5, 3, 1_700_000_000_250_000, None, b'{"a":1.0}')
OTHER = Event("jobs:1", 9, 0, 1_700_000_000_500_000, "done", b'"x"')

EVENT_TEXT = '{"id":5,"channel":"news","message":{"a":1.0},"timestamp":1700000000.25}'
OTHER_TEXT = '{"id":9,"channel":"jobs:1","message":"x","timestamp":1700000000.5,"type":"done"}'


def test_an_event_is_encoded_as_clients_get_it():
    assert EVENT.json.decode() == EVENT_TEXT
    assert OTHER.json.decode() == OTHER_TEXT


@pytest.mark.parametrize("at_us", [1, 1_000_000, 1_700_000_000_000_001, 2**53 - 1, 0])
def test_a_timestamp_is_a_float_of_seconds(at_us):
    text = Event("c", 1, 0, at_us, None, b"1").json
    value = json.loads(text)["timestamp"]
    assert isinstance(value, float)
    assert value == at_us / 1e6
    assert msgspec.json.decode(text)["timestamp"] == value


def test_an_event_shows_itself_in_a_failing_test():
    assert repr(EVENT) == f"Event({EVENT_TEXT})"


def test_a_list_cursor_keeps_the_order_asked():
    assert cursor_text([12, 0, 40]) == "12,0,40"
    assert Page({"b": 2, "a": 1}).last_event_id == "2,1"


FORMS = {
    "one event": (Page({"news": 5}, [EVENT]), EVENT_TEXT),
    "one event after a gap": (
        Page({"news": 5}, [EVENT], {"news": 5}),
        EVENT_TEXT[:-1] + ',"gap":true,"oldest_event_id":5}',
    ),
    "time is up": (Page({"news": 5}), '{"status":"timeout","channel":"news","last_event_id":5}'),
    "time is up after a gap": (
        Page({"news": 5}, gaps={"news": None}),
        '{"status":"timeout","channel":"news","last_event_id":5,"gap":true,"oldest_event_id":null}',
    ),
    "a batch": (
        Page({"news": 5}, [EVENT], batch=True),
        f'{{"channel":"news","events":[{EVENT_TEXT}],"last_event_id":5}}',
    ),
    "a batch after a gap": (
        Page({"news": 5}, [EVENT], {"news": 5}, batch=True),
        f'{{"channel":"news","events":[{EVENT_TEXT}],"last_event_id":5,"gap":true,"oldest_event_id":5}}',
    ),
    "an empty batch": (
        Page({"news": 5}, batch=True),
        '{"status":"timeout","channel":"news","events":[],"last_event_id":5}',
    ),
    "one event of several channels": (
        Page({"jobs:1": 9, "news": 4}, [OTHER], several=True),
        OTHER_TEXT[:-1] + ',"channels":["jobs:1","news"],"last_event_id":"9,4"}',
    ),
    "one event of several channels after gaps": (
        Page({"jobs:1": 9, "news": 4}, [OTHER], {"news": None, "jobs:1": 9}, several=True),
        OTHER_TEXT[:-1] + ',"channels":["jobs:1","news"],"last_event_id":"9,4","gaps":{"news":null,"jobs:1":9}}',
    ),
    "a batch of several channels": (
        Page({"jobs:1": 9, "news": 5}, [EVENT, OTHER], several=True, batch=True),
        f'{{"channels":["jobs:1","news"],"events":[{EVENT_TEXT},{OTHER_TEXT}],"last_event_id":"9,5"}}',
    ),
    "time is up on several channels": (
        Page({"a": 0, "b": 7}, several=True),
        '{"status":"timeout","channels":["a","b"],"last_event_id":"0,7"}',
    ),
    "an empty batch of several channels after a gap": (
        Page({"a": 0, "b": 7}, gaps={"b": 8}, several=True, batch=True),
        '{"status":"timeout","channels":["a","b"],"events":[],"last_event_id":"0,7","gaps":{"b":8}}',
    ),
}


@pytest.mark.parametrize(("page", "text"), FORMS.values(), ids=FORMS)
def test_a_page_is_written_in_the_form_asked_for(page, text):
    assert page.body().decode() == text
    assert msgspec.json.decode(page.body()) == json.loads(text)


@pytest.mark.parametrize(("page", "text"), FORMS.values(), ids=FORMS)
def test_the_cursor_in_the_body_is_the_cursor_of_the_header(page, text):
    body = json.loads(text)
    told = body["last_event_id"] if "last_event_id" in body else body["id"]
    assert str(told) == page.last_event_id
