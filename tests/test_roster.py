"""Who subscribes over all workers: each is asked, and what they say is put together."""

import contextlib

import pytest

from app import roster
from app.names import Patterns
from app.presence import Presence, Subscriber
from app.roster import Roster
from app.stores.base import Answers
from tests.support.app import Clock, present, server, store_url


class Workers:
    """Stands for a store that asks this worker and others, each of which has a presence of its own."""

    def __init__(self, count, partial=False):
        self.presences = [Presence(5) for _ in range(count)]
        self.rosters = [Roster(self, presence) for presence in self.presences]
        self.partial = partial

    def ask(self, question):
        return Answers([each.answer(question) for each in self.rosters], self.partial)

    @contextlib.contextmanager
    def polling(self, *polls):
        """Polls that are open: (worker, client, channel)."""
        with contextlib.ExitStack() as stack:
            for worker, client, channel in polls:
                stack.enter_context(present(self.presences[worker], [channel], client, "poll"))
            yield


@pytest.fixture
def workers():
    return Workers(3)


@pytest.fixture
def here(workers):
    return workers.rosters[0]


def clients(present):
    return [subscriber.client_id for subscriber in present.subscribers]


def test_subscribers_of_all_workers_are_one_list_those_who_came_first_at_the_front(workers, here):
    with workers.polling((2, "ann", "news"), (0, "bob", "news"), (1, "cid", "news"), (1, "dan", "other")):
        assert clients(here.subscribers("news")) == ["ann", "bob", "cid"]
        assert here.subscribers("news").partial is False


def test_a_client_that_goes_from_worker_to_worker_is_one_subscriber(workers, here, monkeypatch):
    times = iter([10.0, 20.0, 30.0])
    monkeypatch.setattr("app.presence.time.time", lambda: next(times))
    with present(workers.presences[1], ["news"], "ann", "poll"):
        pass  # it lingers there
    with present(workers.presences[0], ["news"], "ann", "sse"):
        assert here.subscribers("news").subscribers == [Subscriber("ann", "sse", 10.0)]
        assert here.counts("", "", 10) == ({"news": 1}, False)
        assert here.count("news") == ({"news": 1}, False)


def test_channels_are_counted_over_all_workers(workers, here):
    with workers.polling((0, "ann", "a"), (1, "ann", "a"), (1, "bob", "a"), (2, "cid", "b"), (0, "cid", "c")):
        assert here.counts("", "", 10) == ({"a": 2, "b": 1, "c": 1}, False)
        assert here.count("a") == ({"a": 2}, False)
        assert here.count("nobody") == ({"nobody": 0}, False)


def test_counts_are_of_the_channels_asked_for(workers, here):
    with workers.polling(*((n % 3, "ann", f"a.{n}") for n in range(9)), (0, "ann", "b"), (0, "ann", "@bide.own")):
        assert set(here.counts("a.", "a.3", 10).channels) == {f"a.{n}" for n in range(4, 9)}
        assert "@bide.own" not in here.counts("", "", 20).channels
        assert here.count("@bide.own").channels == {"@bide.own": 1}
        # Of each worker the first two: whatever the first two over all workers are, they are among them.
        assert {"a.0", "a.1"} <= set(here.counts("", "", 2).channels)


@pytest.mark.parametrize(
    ("patterns", "prefix", "after", "named"),
    [
        (["*"], "", "", ["a", "a.1", "a.2", "b", "z"]),
        (["a.*", "z", "none"], "", "", ["a.1", "a.2", "z"]),
        (["a", "a.2"], "", "a", ["a.2"]),
        (["*"], "a.", "a.1", ["a.2"]),
        (["@bide.*", "b"], "", "", ["b"]),
        (["@bide.*", "b"], "@bide.", "", ["@bide.x"]),
        ([], "", "", []),
    ],
)
def test_of_several_patterns_what_they_match_is_counted_and_nothing_else_looked_at(
    workers, here, monkeypatch, patterns, prefix, after, named
):
    looked = []
    channels = Presence.channels

    def counted(self, *of):
        for name in channels(self, *of):
            looked.append(name)
            yield name

    monkeypatch.setattr(Presence, "channels", counted)
    with workers.polling(*[(0, "ann", name) for name in ["a", "a.1", "a.2", "b", "z", "@bide.x"]]):
        assert list(here.counts(prefix, after, 10, Patterns(patterns)).channels) == named
    assert set(looked) <= {*named, "@bide.x"}


def test_a_channel_whose_name_begins_like_the_one_asked_for_is_not_counted_for_it(workers, here):
    with workers.polling((0, "ann", "news.more"), (1, "bob", "news")):
        assert here.count("news") == ({"news": 1}, False)
        assert here.count("new").channels == {"new": 0}


def test_a_worker_that_was_silent_makes_it_partial():
    here = Workers(2, partial=True).rosters[0]
    assert here.subscribers("news").partial
    assert here.counts("", "", 10).partial
    assert here.count("news").partial


def test_an_answer_names_a_bounded_number_of_clients(workers, here, monkeypatch):
    """Above it channels are counted by numbers, so that a client may be counted twice: that is told."""
    monkeypatch.setattr(roster, "MAX_NAMED", 3)
    with workers.polling(
        *((0, f"c{n}", "a") for n in range(2)), *((n % 2, f"d{n}", "b") for n in range(8)), (0, "ann", "c")
    ):
        assert here.counts("", "", 10) == ({"a": 2, "b": 8, "c": 1}, True)
        assert here.count("a") == ({"a": 2}, False)
        assert here.subscribers("b").partial
        assert len(clients(here.subscribers("b"))) == 6


def test_a_worker_alone_counts_however_many_there_are(monkeypatch):
    monkeypatch.setattr(roster, "MAX_NAMED", 3)
    alone = Workers(1)
    with alone.polling(*((0, f"c{n}", "a") for n in range(8))):
        assert alone.rosters[0].counts("", "", 10) == ({"a": 8}, False)


def test_two_servers_on_one_file_count_the_subscribers_of_both(tmp_path):
    url, clock = store_url("sqlite", tmp_path), Clock()
    with server(url, clock) as one, server(url, clock) as two:
        one.publisher.publish("b", 1)
        with present(one.presence, ["a", "b"], "ann", "poll"), present(two.presence, ["b", "c"], "bob", "poll"):
            for each in (one, two):
                listed = each.list_channels("", "", 10)
                assert [(info.channel, info.events, count) for info, count in listed.channels] == [
                    ("a", 0, 1),
                    ("b", 1, 2),
                    ("c", 0, 1),
                ]
                assert not listed.partial
                assert clients(each.roster.subscribers("b")) == ["ann", "bob"]
