"""Every parameter in every odd form, over HTTP: what the contract does not allow is refused by a problem that names the
parameter, and what it allows means what it says. Alone, and beside clients that publish and follow.
"""

import json
import time

from hypothesis import strategies as st

from tests.openapi import grammar, odd
from tests.openapi.description import judged
from tests.openapi.grammar import BAD


def future():
    """What lies surely above every cursor that was handed out; nothing here is near it."""
    return int(time.time() * 1e6) + 3_600_000_000


#: Channels of a poll: those that keep something, mostly.
polled = odd.mostly(
    st.sampled_from(["odd-a", "odd-b"]), st.sampled_from(["odd-a,odd-b", "odd-b,odd-a", "odd-a,odd-a"]), odd.names
)


@odd.law(
    *[
        {"path": b"odd-a", "query": query, "last": []}
        for name in ("last_event_id", "timeout", "limit")
        for query in odd.alone(name)
    ],
    path=odd.encoded(polled),
    query=odd.queries(last_event_id=odd.numbers, timeout=odd.numbers, limit=odd.numbers),
    last=odd.headers(odd.numbers),
)
def test_a_poll(asker, kept, path, query, last):
    answer = asker.ask("GET", b"/subscribe/%b?%b" % (path, query), [("Last-Event-ID", last)])
    text, given = grammar.decoded(path), grammar.parameters(query)
    if "/" in text or not text:
        return odd.another_path(answer)
    names = grammar.names(text)
    # The header wins: what the query says is then not looked at, but it may say it once.
    cursor = grammar.only(given.get("last_event_id"), str)
    header = grammar.header(last)
    cursors = cursor
    if cursor is not BAD and names is not BAD:
        cursor = cursor if header is None else header
        cursors = [0] * len(names) if cursor is None else grammar.cursors(cursor, len(names))
        if cursors is not BAD and any(each != "latest" and each > future() for each in cursors):
            cursors = BAD
    limit = grammar.only(given.get("limit"), grammar.limit)
    read = {
        "channel": names,
        "last_event_id": cursors,
        "timeout": grammar.only(given.get("timeout"), grammar.seconds),
        "limit": limit,
    }
    bad = [param for param, value in read.items() if value is BAD]
    if bad:
        # Of what is no list of channels it cannot be told whether the cursors fit.
        return odd.refused(answer, *bad, *(["last_event_id"] if names is BAD else []))
    body = judged("/subscribe/{channels}", answer)
    assert answer.headers[b"last-event-id"].decode() == str(body.get("last_event_id", body.get("id")))
    waiting = {
        name: [id for id in kept.get(name, ()) if cursor != "latest" and id > cursor]
        for name, cursor in zip(names, cursors, strict=True)
    }
    events = body.get("events", [body] if "id" in body else [])
    assert len(events) == min(limit or 1, sum(map(len, waiting.values())))
    assert ("events" in body) is (limit is not None)
    assert body.get("channels", names if len(names) == 1 else None) == names
    for name, ids in waiting.items():
        found = [event["id"] for event in events if event["channel"] == name]
        assert found == ids[: len(found)]
    for name, cursor in zip(names, cursors, strict=True):
        told = name in body.get("gaps", [name] if "gap" in body else [])
        assert not (told and (cursor in (0, "latest") or cursor in kept.get(name, ())))
    return "taken"


@odd.law(client=odd.headers(odd.names))
def test_a_client_s_name(asker, kept, client):
    answer = asker.ask("GET", b"/subscribe/odd-clients?timeout=0", [("X-Client-ID", client)])
    judged("/subscribe/{channels}", answer)
    told = judged("/channels/{channel}/subscribers", asker.ask("GET", b"/channels/odd-clients/subscribers"))
    text = grammar.header(client)
    found = {each["client_id"] for each in told["subscribers"]}
    # One that is none is ignored; the schema has seen that no other text got in.
    if text is not None and grammar.client_id(text) is not BAD:
        assert text in found
        return "taken"
    assert any(len(each) == 16 for each in found)
    return "refused"


#: Preferences that are one, that are none, and that say something else.
preferences = [
    "wait=0",
    "wait=1",
    "Wait=2",
    'wait="3"',
    "wait=-1",
    "wait=1.5",
    "wait=",
    "wait",
    "wait=\u0661",
    "await=5",
]
preferences += ["wait=1e3", "wait=+1", "respond-async", "return=minimal", "", "x=wait=7", "wait=0x1", "wait=1; a=b"]


@odd.law(
    prefer=odd.headers(odd.mostly(st.just("wait=0"), st.lists(st.sampled_from(preferences), max_size=3).map(",".join))),
    timed=st.booleans(),
)
def test_a_preference(asker, kept, prefer, timed):
    # There is something to answer at once.
    target = b"/subscribe/odd-a?last_event_id=0" + (b"&timeout=0" if timed else b"")
    answer = asker.ask("GET", target, [("Prefer", prefer)])
    judged("/subscribe/{channels}", answer)
    asked = [each.partition(";")[0].strip(" \t") for each in (grammar.header(prefer) or "").split(",")]
    pairs = [each.partition("=")[::2] for each in asked]
    holds = [value.strip('"') for name, value in pairs if name.strip(" \t").lower() == "wait"]
    valid = [f"wait={value}" for value in holds if grammar.whole(value) is not BAD]
    applied = answer.headers.get(b"preference-applied")
    assert (None if applied is None else applied.decode()) == (valid[0] if valid and not timed else None)
    return "taken" if applied else "refused"


#: JSON texts of what should be a number, or a text that is one.
scalars = odd.mostly(
    odd.good | odd.good.map(json.dumps),
    st.sampled_from(
        ["0", "0.5", "1000", "1001", "true", "null", "[]", "{}", '""', "9" * 16, "9" * 40, "-1", str(2**53)]
    ),
    st.sampled_from(["0.05", "0.00001", "0.000000000000000000001", "12345678901234567890.5", "1.5"]),
    odd.numbers.map(json.dumps),
)


@odd.law(cursor=scalars, timeout=scalars, limit=scalars)
def test_a_poll_by_post(asker, kept, cursor, timeout, limit):
    text = f'{{"channels": {{"odd-a": {cursor}}}, "timeout": {timeout}, "limit": {limit}}}'
    answer = asker.ask("POST", b"/subscribe", [("Content-Type", [b"application/json"])], text.encode())
    said = json.loads(cursor) if cursor.startswith('"') else cursor
    read = {
        "last_event_id": grammar.whole(said) if said != "latest" or cursor == said else said,
        "timeout": _of_json(timeout, grammar.seconds),
        "limit": _of_json(limit, grammar.limit),
    }
    if read["last_event_id"] is not BAD and said != "latest" and read["last_event_id"] > future():
        read["last_event_id"] = BAD
    if bad := [param for param, value in read.items() if value is BAD]:
        return odd.refused(answer, *bad)
    assert answer.status == 200, answer.body
    waiting = [id for id in kept["odd-a"] if said != "latest" and id > read["last_event_id"]]
    body = answer.json()
    events = body.get("events", [body] if "id" in body else [])
    assert [event["id"] for event in events] == waiting[: read["limit"] or 1]
    assert ("events" in body) is (read["limit"] is not None)
    return "taken"


def _of_json(text, read):
    """A JSON text as what it says; null is nothing."""
    if text == "null":
        return None
    return read(json.loads(text) if text.startswith('"') else text)
