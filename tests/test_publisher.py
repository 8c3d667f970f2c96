"""The writing end: the laws of names, sizes and keys, for callers over HTTP and for those that are not."""

import pytest

from app.config import Policy, Retention, RetentionRule
from app.errors import (
    Forbidden,
    InvalidBody,
    InvalidRequest,
    KeyReused,
    MessageRequired,
    StoreUnavailable,
    TooLarge,
)
from app.publisher import Publisher, check_channel, check_key
from app.stores import open_store
from tests.support.app import BEGIN, Clock, Staged, store_url

PLENTY = 10**9


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, clock):
    policy = Policy((RetentionRule("small", Retention(3, 1000)),))
    store = open_store(store_url(request.param, tmp_path), policy, clock)
    yield store
    store.close()


@pytest.fixture
def publisher(store):
    return Publisher(store, max_message_bytes=100)


def stored(store, channel="news"):
    return [(event.id, event.json) for event in store.read(channel, 0, PLENTY, PLENTY).events]


def messages(store, channel="news"):
    return [json.partition(b'"message":')[2].partition(b',"timestamp"')[0] for _, json in stored(store, channel)]


def test_a_publish_returns_the_id_under_which_it_is_stored(publisher, store):
    id = publisher.publish("news", {"hello": [1.0, None]}, type="greeting")
    assert stored(store) == [
        (id, b'{"id":%d,"channel":"news","message":{"hello":[1.0,null]},"timestamp":%b,"type":"greeting"}'
         % (id, repr(BEGIN).encode()))
    ]  # fmt: skip


def test_a_batch_is_consecutive_and_in_order(publisher, store):
    ids = publisher.publish_batch("news", iter(["a", "b", 0]))
    assert ids == list(range(ids[0], ids[0] + 3))
    assert [id for id, _ in stored(store)] == ids
    assert messages(store) == [b'"a"', b'"b"', b"0"]


def test_ids_grow_however_the_clock_stands_or_steps_back(publisher, clock):
    ids = [publisher.publish("news", 1), publisher.publish("news", 1)]
    clock.now -= 3600
    ids += [publisher.publish("news", 1), *publisher.publish_batch("news", [1, 2])]
    clock.now += 7200
    ids.append(publisher.publish("news", 1))
    assert ids == sorted(set(ids))
    assert ids[-1] == int(clock.now * 1e6)


@pytest.mark.parametrize("channel", ["", "a b", "a,b", "..", "x" * 129, "é"])
def test_a_name_that_is_none_is_refused(publisher, store, channel):
    with pytest.raises(InvalidRequest) as caught:
        publisher.publish(channel, 1)
    assert caught.value.param == "channel"
    assert store.channels("", "", 10) == []


def test_the_servers_own_channels_are_published_by_it_alone(publisher, store):
    with pytest.raises(Forbidden, match=r"@bide\.x"):
        publisher.publish("@bide.x", 1)
    assert store.info("@bide.x") is None


@pytest.mark.parametrize("message", [None, ""])
def test_a_message_that_is_none_is_refused(publisher, store, message):
    for call in (publisher.publish, lambda channel, message: publisher.publish_batch(channel, [1, message])):
        with pytest.raises(MessageRequired):
            call("news", message)
    assert stored(store) == []


def test_a_message_too_large_refuses_its_whole_batch(publisher, store):
    with pytest.raises(TooLarge) as caught:
        publisher.publish_batch("news", ["small", "x" * 99])
    assert caught.value.param == "messages"
    assert stored(store) == []
    publisher.publish("news", "x" * 98)


def test_what_json_cannot_say_is_refused(publisher):
    with pytest.raises(InvalidBody):
        publisher.publish("news", float("nan"))


def test_a_type_that_is_none_is_refused(publisher, store):
    with pytest.raises(InvalidRequest) as caught:
        publisher.publish("news", 1, type="bide.gap")
    assert caught.value.param == "type"
    assert stored(store) == []


def test_a_batch_has_at_least_one_message(publisher):
    with pytest.raises(InvalidRequest):
        publisher.publish_batch("news", [])


def test_a_batch_has_at_most_a_thousand_messages(publisher):
    assert len(publisher.publish_batch("news", range(1000))) == 1000
    with pytest.raises(InvalidRequest, match=r"at most 1,000 messages; this one has 1,001"):
        publisher.publish_batch("news", range(1001))


def test_a_batch_is_no_more_than_its_channel_keeps(publisher, store):
    publisher.publish_batch("small", [1, 2, 3])
    with pytest.raises(InvalidRequest, match="at most 3 messages"):
        publisher.publish_batch("small", [1, 2, 3, 4])
    assert messages(store, "small") == [b"1", b"2", b"3"]


def test_a_key_used_again_stores_nothing_and_answers_the_same(publisher, store):
    first = publisher.publish("news", {"n": 1}, idempotency_key="k")
    publisher.publish("news", 2)
    assert publisher.publish("news", {"n": 1}, idempotency_key="k") == first
    assert messages(store) == [b'{"n":1}', b"2"]


def test_a_batch_replayed_has_the_ids_of_the_first(publisher, store):
    first = publisher.publish_batch("news", [1, 2, 3], idempotency_key="k")
    assert publisher.publish_batch("news", [1, 2, 3], idempotency_key="k") == first
    assert len(stored(store)) == 3


@pytest.mark.parametrize(
    ("batch", "kind"),
    [([1], None), ([1, 2, 3], None), ([2, 1], None), ([12], None), ([1, 2], "t"), (["1", 2], None)],
)
def test_a_key_with_other_content_is_refused(publisher, store, batch, kind):
    publisher.publish_batch("news", [1, 2], idempotency_key="k")
    with pytest.raises(KeyReused):
        publisher.publish_batch("news", batch, type=kind, idempotency_key="k")
    assert len(stored(store)) == 2


def test_a_key_belongs_to_its_channel_and_its_subject(publisher):
    sent = [b"1"]
    ids = {
        publisher.append("news", sent, None, "k", "ann").first_id,
        publisher.append("news", sent, None, "k", "bob").first_id,
        publisher.append("news", sent, None, "k").first_id,
    }
    assert len(ids) == 3
    assert not publisher.append("jobs", sent, None, "k", "ann").replayed
    assert publisher.append("news", sent, None, "k", "ann").replayed


def test_a_key_is_forgotten_after_its_time(publisher, clock):
    first = publisher.publish("news", 1, idempotency_key="k")
    clock.now += 599
    assert publisher.publish("news", 1, idempotency_key="k") == first
    clock.now += 1
    assert publisher.publish("news", 1, idempotency_key="k") > first


def test_a_publish_that_failed_is_not_remembered(store):
    failing = Staged(store)
    failing.away = True
    publisher = Publisher(failing)
    with pytest.raises(StoreUnavailable):
        publisher.publish("news", 1, idempotency_key="k")
    failing.away = False
    publisher.publish("news", 2, idempotency_key="k")
    assert messages(store) == [b"2"]


@pytest.mark.parametrize("key", ["!", "~", "a" * 255, '{"a":1}'])
def test_a_key_is_visible_ascii(key):
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "a\n", "\x7f", "é"])
def test_what_is_no_key_is_refused(publisher, key):
    with pytest.raises(InvalidRequest) as caught:
        check_key(key)
    assert caught.value.param == "Idempotency-Key"


def test_a_refusal_quotes_no_more_than_a_piece_of_what_was_sent():
    with pytest.raises(InvalidRequest) as caught:
        check_channel("!" * 100_000)
    assert len(str(caught.value)) < 400
