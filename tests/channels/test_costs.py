"""The costliest bodies that fit: none takes more than in proportion to its bytes, nor many times what it takes to read
it, and others have turns meanwhile. CPU time is compared with CPU time of the same run."""

import contextlib
import gc
import io
import json
import time

import gevent
import pytest

from app import guard
from app.channels import body
from app.errors import InvalidRequest, TooLarge
from app.publisher import Publisher
from app.stores import open_store
from tests.support.app import serving

FULL = 1024 * 1024
PART = FULL // 8


def repeated(unit, size, join=b","):
    """So many units, joined, that they have about so many bytes."""
    return join.join([unit] * ((size - 20) // (len(unit) + len(join))))


def listed(unit, join=b","):
    return lambda size: b'{"message":[' + repeated(unit, size, join) + b"]}"


def quoted(unit, end=b""):
    return lambda size: b'{"message":"' + repeated(unit, size, b"") + end + b'"}'


def batch(unit, count=1000):
    return lambda size: (
        b'{"messages":[' + b",".join([b"[" + repeated(unit, size // count - 3 + 20) + b"]"] * (count - 1)) + b"]}"
    )


def names(size):
    return b'{"message":{' + b",".join([b'"%06x":0' % number for number in range((size - 20) // 11)]) + b"}}"


def nested(depth, opening=b"[", closing=b"]"):
    return opening * depth + closing * depth


def of_digits(before, digit, after=b""):
    return lambda size: b'{"message":' + before + digit * (size - 20 - len(before) - len(after)) + after + b"}"


COSTLY = {
    "escapes": quoted(rb"\u0041"),
    "escaped quotes": quoted(rb"\""),
    "escaped backslashes": quoted(rb"\\"),
    "surrogate pairs": quoted(rb"\ud83d\ude00"),
    "half a pair at the end": quoted(rb"\ud83d\ude00", rb"\ud83d"),
    "no UTF-8 at the end": quoted(b"a", b"\xff"),
    "empty lists": listed(b"[]"),
    "empty objects": listed(b"{}"),
    "empty strings": listed(b'""'),
    "empty strings, spaced": listed(b'""', b" ,"),
    "escapes, spaced": listed(rb'"\n"', b" ,"),
    "zeros, spaced": listed(b"0", b" , "),
    "small objects": listed(b'{"a":0}'),
    "a long name again and again": listed(b'{"' + b"k" * 1000 + b'":0}'),
    "numbers with exponents": listed(b"1e9"),
    "numbers at the end of a double": listed(b"1.7976931348623157e308"),
    "numbers half-way between two doubles": listed(b"9007199254740993." + b"0" * 750 + b"1"),
    "lists as deep as may be": listed(nested(63)),
    "objects as deep as may be": listed(nested(63, b'{"a":', b"}")),
    "one list deeper than may be": lambda size: listed(nested(63))(size - 200)[:-2] + b"," + nested(66) + b"]}",
    "brackets that end": lambda size: b'{"message":' + nested((size - 20) // 2) + b"}",
    "brackets that do not end": lambda size: b"[" * size,
    "braces that do not end": lambda size: b'{"a":' * (size // 5),
    "quotes that do not end": lambda size: b'{"message":["' + rb"\"" * ((size - 20) // 2),
    "many names": names,
    "a name that comes again at the end": lambda size: names(size - 20)[:-2] + b',"000000":1}}',
    "a member that comes again and again": lambda size: b"{" + repeated(b'"message":0', size) + b"}",
    "an error at the end": lambda size: listed(b"[]")(size)[:-1] + b"]}",
    "a long integer": of_digits(b"1", b"1"),
    "a long fraction": of_digits(b"1.", b"1"),
    "a long exponent": of_digits(b"1e-", b"1"),
    "zeros before an exponent": of_digits(b"1e", b"0", b"1"),
    "space": of_digits(b"0", b" "),
    "a batch of lists": batch(b"[]"),
    "a batch of lists as deep as may be": batch(nested(63)),
    "a batch of small objects": batch(b'{"a":0}'),
    "a batch of spaced strings": batch(b'"" '),
    "a batch of too many": lambda size: b'{"messages":[' + repeated(b"[]", size) + b"]}",
}


def publish(publisher, data):
    """All that is done with a body before it is stored."""
    environ = {"CONTENT_LENGTH": str(len(data)), "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(data)}
    with contextlib.suppress(InvalidRequest, TooLarge):
        asked = body.publication(environ, FULL)
        publisher.check("costs", asked.messages, batch=asked.batch)


def cpu_seconds(work, times=1):
    """The least of several tries."""
    tries = []
    for _ in range(2):
        begun = time.process_time()
        for _ in range(times):
            work()
        tries.append(time.process_time() - begun)
    return min(tries)


@pytest.fixture(scope="module")
def publisher():
    store = open_store("memory://")
    yield Publisher(store)
    store.close()


@pytest.fixture(scope="module", autouse=True)
def collector():
    """As a worker's, which gunicorn.conf.py spares what lives long: pytest has a lot of it."""
    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.fixture(scope="module")
def reading(collector):
    """What it takes the standard library to read the costliest of them, in CPU time."""
    text = COSTLY["lists as deep as may be"](FULL)
    return cpu_seconds(lambda: json.loads(text))


@pytest.mark.parametrize("make", COSTLY.values(), ids=list(COSTLY))
def test_a_body_costs_in_proportion_to_its_bytes_and_not_many_times_what_reading_one_does(publisher, reading, make):
    part, full = make(PART), make(FULL)
    assert FULL * 0.95 < len(full) <= FULL
    whole = cpu_seconds(lambda: publish(publisher, full))
    in_parts = cpu_seconds(lambda: publish(publisher, part), FULL // PART)
    assert whole < 5 * max(in_parts, 0.002)
    assert whole < 4 * reading


@pytest.mark.parametrize(
    ("path", "body", "least"),
    [
        ("/publish/a", {"message": 1}, 2),
        ("/publish/a", {"messages": [1] * 100}, 102),
        ("/publish", {"channels": [f"c{number}" for number in range(100)], "message": 1}, 102),
        ("/subscribe", {"channels": {"a": 0}, "timeout": 0}, 1),
    ],
)
def test_the_loop_turns_between_the_steps_of_a_large_body(monkeypatch, path, body, least):
    """One step of a mebibyte may take tens of milliseconds; two never follow one another."""
    monkeypatch.setattr(guard, "TURN_SECONDS", -1)
    loop = gevent.get_hub().loop
    with serving() as app:
        guard.take_turns(None)  # as a request begins, whose connection has no socket here
        before = loop.iteration
        assert app.test_client().post(path, json=body).status_code == 200
        assert loop.iteration - before >= least
