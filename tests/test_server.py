"""One process's parts together: the list of channels, a channel's past, a delete, and what is counted."""

import pytest

from app.config import Policy, Retention, RetentionRule
from app.errors import Forbidden
from tests.support.app import Clock, ids, parked_poll, present, server, store_url

POLICY = Policy((RetentionRule("small", Retention(3, 86400)), RetentionRule("short", Retention(1000, 10))))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path, clock):
    with server(store_url(request.param, tmp_path), clock, POLICY) as parts:
        clock.now += 10
        yield parts


def listed(bide, prefix="", after="", limit=10):
    return [
        (info.channel, info.events, subscribers)
        for info, subscribers in bide.list_channels(prefix, after, limit).channels
    ]


def publish(bide, channel, count=1):
    return bide.publisher.publish_batch(channel, range(count))


def test_a_server_without_channels_lists_none(bide):
    assert listed(bide) == []


def test_channels_with_events_a_head_or_a_subscriber_are_listed_by_code_point(bide, clock):
    publish(bide, "b", 2)
    publish(bide, "B")
    publish(bide, "short")
    clock.now += 11
    with present(bide.presence, ["a", "b"], "ann", "poll"), present(bide.presence, ["b"], "bob", "poll"):
        assert listed(bide) == [("B", 1, 0), ("a", 0, 1), ("b", 2, 2), ("short", 0, 0)]


def test_a_list_goes_on_after_a_name_wherever_its_channels_come_from(bide):
    for name in ("a", "c", "e"):
        publish(bide, name)
    with present(bide.presence, ["b", "d", "f"], "ann", "poll"):
        names, after = [], ""
        while page := listed(bide, after=after, limit=2):
            assert len(page) <= 2
            names += [name for name, *_ in page]
            after = names[-1]
        assert names == ["a", "b", "c", "d", "e", "f"]


def test_a_list_is_narrowed_to_a_prefix(bide):
    for name in ("jobs", "jobs.1", "news"):
        publish(bide, name)
    with present(bide.presence, ["jobs.2", "other"], "ann", "poll"):
        assert [name for name, *_ in listed(bide, prefix="jobs.")] == ["jobs.1", "jobs.2"]
        assert [name for name, *_ in listed(bide, prefix="jobs", after="jobs.1")] == ["jobs.2"]


def test_the_servers_own_channels_are_not_listed_for_their_subscribers(bide):
    with present(bide.presence, ["@bide.health"], "ann", "poll"):
        assert listed(bide) == []


def test_a_subscriber_stores_nothing(bide):
    with present(bide.presence, ["news"], "ann", "poll"):
        assert bide.store.channels("", "", 10) == []


def test_history_from_the_beginning_and_from_an_id_on(bide):
    sent = publish(bide, "news", 5)
    page = bide.history("news", None, None, 3)
    assert (ids(page), page.oldest, page.last_event_id, page.gap) == (sent[:3], sent[0], sent[2], False)
    page = bide.history("news", page.last_event_id, None, 3)
    assert (ids(page), page.last_event_id) == (sent[3:], sent[4])


def test_history_before_an_id_is_the_newest_below_it(bide):
    sent = publish(bide, "news", 5)
    page = bide.history("news", None, sent[4], 2)
    assert (ids(page), page.last_event_id) == (sent[2:4], sent[3])
    assert ids(bide.history("news", None, sent[2], 100)) == sent[:2]
    assert ids(bide.history("news", None, sent[0], 100)) == []


def test_history_between_two_ids_is_the_oldest_of_it(bide):
    sent = publish(bide, "news", 6)
    assert ids(bide.history("news", sent[0], sent[5], 2)) == sent[1:3]
    assert ids(bide.history("news", sent[0], sent[3], 100)) == sent[1:3]
    assert ids(bide.history("news", sent[3], sent[3], 100)) == []


def test_an_empty_page_of_history_ends_where_a_poll_takes_over(bide, clock):
    sent = publish(bide, "short", 2)
    assert bide.history("short", sent[1], None, 10).last_event_id == sent[1]
    clock.now += 11
    page = bide.history("short", None, None, 10)
    assert (ids(page), page.oldest, page.last_event_id) == ([], None, sent[1])


def test_the_history_of_an_unknown_channel_is_empty(bide):
    page = bide.history("none", None, None, 10)
    assert (ids(page), page.oldest, page.last_event_id, page.gap) == ([], None, 0, False)


def test_history_below_what_is_kept_is_told_as_a_gap(bide):
    first, *_ = publish(bide, "small", 3)
    kept = publish(bide, "small", 3)
    page = bide.history("small", first, None, 10)
    assert (ids(page), page.oldest, page.gap) == (kept, kept[0], True)
    assert not bide.history("small", None, None, 10).gap
    assert not bide.history("small", kept[0] - 1, None, 10).gap
    assert bide.history("none", 5, None, 10).gap


def test_a_delete_leaves_the_channel_with_its_head(bide):
    sent = publish(bide, "news", 2)
    bide.delete("news")
    info, _ = bide.list_channels("", "", 10).channels[0]
    assert (info.channel, info.events, info.oldest_event_id, info.last_event_id) == ("news", 0, None, sent[1])
    assert ids(bide.history("news", None, None, 10)) == []


def test_a_delete_of_an_unknown_channel_makes_none(bide):
    bide.delete("none")
    assert listed(bide) == []


def test_the_servers_own_channels_are_not_deleted(bide):
    with pytest.raises(Forbidden):
        bide.delete("@bide.health")


def test_everything_that_a_poll_could_leave_behind_is_counted(bide):
    names = ("polls", "hang_ups", "deadlines", "waiters", "tails", "tails_bytes", "present", "lingering")
    counts = dict.fromkeys(names, 0)
    assert bide.counts() == counts
    waiting = parked_poll(bide, client_id="ann")
    assert bide.counts() == {**counts, "polls": 1, "deadlines": 1, "waiters": 1, "tails": 1, "present": 1}
    waiting.kill()
    assert bide.counts() == {**counts, "tails": 1, "present": 1, "lingering": 1}


def test_a_batch_up_to_the_retention_is_the_channel(bide):
    """What is older is hidden, whether or not its bytes are still inside."""
    for _ in range(3):
        sent = publish(bide, "small", 3)
    assert listed(bide) == [("small", 3, 0)]
    assert ids(bide.history("small", None, None, 100)) == sent
