"""Names, and the parameters of pages, in every odd form: see test_odd_polls.py."""

from hypothesis import strategies as st

from tests.openapi import grammar, odd
from tests.openapi.conftest import KEPT
from tests.openapi.description import judged
from tests.openapi.grammar import BAD

#: Some stand for an event's id, which nobody knows beforehand.
places = odd.mostly(st.sampled_from([f"ID{number}" for number in range(KEPT["odd-a"])]), odd.numbers)


@odd.law(
    *[{"query": query} for name in ("after", "before", "limit") for query in odd.alone(name)],
    query=odd.queries(after=places, before=places, limit=odd.numbers),
)
def test_history(asker, kept, query):
    ids = kept["odd-a"]
    for number, id in enumerate(ids):
        query = query.replace(b"ID%d" % number, b"%d" % id)
    answer = asker.ask("GET", b"/channels/odd-a/events?%b" % query)
    given = grammar.parameters(query)
    read = {name: grammar.only(given.get(name), grammar.whole) for name in ("after", "before")}
    read["limit"] = grammar.only(given.get("limit"), grammar.limit, 100)
    if bad := [param for param, value in read.items() if value is BAD]:
        return odd.refused(answer, *bad)
    body = judged("/channels/{channel}/events", answer)
    after, before, limit = read["after"], read["before"], read["limit"]
    found = [id for id in ids if id > (after or 0) and (before is None or id < before)]
    expected = found[-limit:] if after is None and before is not None else found[:limit]
    assert [event["id"] for event in body["events"]] == expected
    assert not (body["gap"] and (after or 0) in (0, *ids))
    return "taken"


@odd.law(
    *[{"query": query} for name in ("prefix", "after", "limit") for query in odd.alone(name)],
    query=odd.queries(prefix=odd.names | st.just("odd-"), after=odd.names, limit=odd.numbers),
)
def test_the_list_of_channels(asker, kept, query):
    answer = asker.ask("GET", b"/channels?%b" % query)
    given = grammar.parameters(query)
    read = {
        "prefix": grammar.only(given.get("prefix"), grammar.prefix, ""),
        "after": grammar.only(given.get("after"), grammar.name, ""),
        "limit": grammar.only(given.get("limit"), grammar.limit, 100),
    }
    if bad := [param for param, value in read.items() if value is BAD]:
        return odd.refused(answer, *bad)
    body = judged("/channels", answer)
    listed = body["active_channels"]
    assert listed == [entry["channel"] for entry in body["channels"]] == sorted(set(listed))
    assert len(listed) <= read["limit"]
    assert body["next"] == (listed[-1] if body["next"] is not None else None)
    # Others come and go by what other tests ask.
    wanted = {name for name in kept if name.startswith(read["prefix"]) and name > read["after"]}
    assert {name for name in listed if name in kept} == {
        name for name in wanted if body["next"] is None or name <= body["next"]
    }
    assert all(name.startswith(read["prefix"]) and name > read["after"] for name in listed)
    return "taken"


@odd.law(path=odd.encoded(odd.names), key=odd.headers(odd.names))
def test_a_publish(asker, kept, path, key):
    answer = asker.ask(
        "POST", b"/publish/%b" % path, [("Idempotency-Key", key), ("Content-Type", [b"text/plain"])], b"x"
    )
    text = grammar.decoded(path)
    if "/" in text or not text:
        return odd.another_path(answer)
    name = grammar.name(text)
    if name is not BAD and name.startswith("@bide."):
        assert answer.status == 403
        return "forbidden"
    said = grammar.header(key)
    read = {"channel": name, "Idempotency-Key": None if said is None else grammar.key(said)}
    if bad := [param for param, value in read.items() if value is BAD]:
        return odd.refused(answer, *bad)
    assert answer.status == 200, answer.body
    assert answer.json()["channel"] == name
    return "taken"


@odd.law(
    path=odd.encoded(odd.names),
    method=st.sampled_from(["GET", "DELETE"]),
    below=st.sampled_from([b"", b"", b"/events", b"/subscribers"]),
)
def test_a_channel_s_path(asker, kept, path, method, below):
    below = below if method == "GET" else b""
    answer = asker.ask(method, b"/channels/%b%b" % (path, below))
    text = grammar.decoded(path)
    if "/" in text or not text:
        # A percent-encoded slash is one to WSGI: a%2Fevents is the history of a.
        assert answer.status in (200, 404, 405)
        return "another path"
    name = grammar.name(text)
    if name is BAD:
        return odd.refused(answer, "channel")
    if method == "DELETE":
        assert answer.status == (403 if name.startswith("@bide.") else 204)
    elif below:
        assert answer.json()["channel"] == name
    elif answer.status == 404:
        assert answer.json()["type"] == "/problems/channel-not-found"
    else:
        assert answer.json()["channel"] == name
    return "taken"
