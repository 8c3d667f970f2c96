"""Parse, call, render: what each path of the blueprint does, a few lines each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from flask import Response

from .. import guard
from ..access.admission import check_again, permit_of
from ..access.limits import LIMITS, Leave, Limits
from ..access.permit import Right
from ..dispatch import current_app, current_environ
from ..errors import BideError, ChannelNotFound, InvalidRequest, Unavailable
from ..events import Page, encode
from ..grant import Grant
from ..lifecycle import PARKS, UNREAD
from ..names import is_own
from ..publisher import check_channel, check_key
from ..server import Server, unknown
from ..stores.base import Appended, ChannelInfo
from . import body, params
from .answers import Answer, Parking

#: `GET /channels` and history: entries of a page where no limit is given.
DEFAULT_LIMIT = 100


def publish(channel: str) -> Response:
    """POST /publish/<channel>"""
    server = _server()
    _leave_to_publish(server)
    asked = body.publication(current_environ(), server.settings.max_body_bytes)
    check_again(current_environ(), server.settings)
    messages = server.publisher.check(channel, asked.messages, batch=asked.batch)
    appended = server.publisher.append(channel, messages, asked.type, _idempotency_key(), _subject(server))
    answer = b'{"status":"published","channel":"%b","event_id":%d' % (channel.encode(), appended.last_id)
    if asked.batch:
        answer += b',"event_ids":' + encode(list(range(appended.first_id, appended.last_id + 1)))
    return _published(answer + b"}", [appended])


def publish_several() -> Response:
    """POST /publish"""
    server = _server()
    leave = _leave_to_publish(server)
    asked = body.publication(current_environ(), server.settings.max_body_bytes)
    channels = _named(asked.channels)
    _allow(server, "publish", channels)
    if leave is not None:
        leave.spend(len(channels) - 1)  # one was counted before anybody knew how many there are
    key, subject = _idempotency_key(), _subject(server)
    server.publisher.check(channels[0], asked.messages, batch=asked.batch)
    for channel in channels[1:]:  # the messages are the same: a hundred times they took seconds
        server.publisher.check_count(channel, len(asked.messages))
    done: list[dict[str, Any]] = []
    appends = []
    for channel in channels:
        try:
            appended = server.publisher.append(channel, asked.messages, asked.type, key, subject)
        except BideError as error:
            # Each channel is atomic, the set is not: the client repeats it with its key, and this is done already.
            if done or isinstance(error, Unavailable):
                error.more["events"] = done
            raise
        done.append({"channel": channel, "event_id": appended.last_id})
        appends.append(appended)
        guard.take_turns(current_environ().get("gunicorn.socket"))
    return _published(encode({"status": "published", "events": done}), appends)


def subscribe(channels: str) -> Response:
    """GET /subscribe/<channel>[,<channel>…]"""
    server, environ = _server(), current_environ()
    leave = _leave_to_poll(server)
    return _polled(server, environ, params.poll(environ, channels, server.settings), leave)


def subscribe_several() -> Response:
    """POST /subscribe"""
    server, environ = _server(), current_environ()
    leave = _leave_to_poll(server)
    asked = body.json_object(environ, server.settings.max_body_bytes)
    poll = params.poll_of_body(environ, asked, server.settings)
    _allow(server, "subscribe", poll.cursors)
    return _polled(server, environ, poll, leave)


def list_channels() -> Response:
    """GET /channels"""
    server = _server()
    query = params.Query(current_environ()["QUERY_STRING"])
    limit = params.limit(query, DEFAULT_LIMIT) or DEFAULT_LIMIT
    # One more than fits tells whether there is a next page.
    prefix = params.prefix(query)
    permit = permit_of(current_environ(), server.settings)
    patterns = None if permit is None else permit.patterns("admin" if is_own(prefix) else "subscribe")
    entries, partial = server.list_channels(prefix, params.after_channel(query), limit + 1, patterns)
    page = entries[:limit]
    return _told(
        {
            "active_channels": [info.channel for info, _ in page],
            "channels": [_entry(info, subscribers) for info, subscribers in page],
            "next": page[-1][0].channel if len(entries) > limit else None,
        },
        partial,
    )


def show_channel(channel: str) -> Response:
    """GET /channels/<channel>"""
    server = _server()
    counts, partial = server.roster.count(check_channel(channel))
    info = server.store.info(channel)
    if info is None and not counts[channel]:
        raise ChannelNotFound(
            f"{channel} has neither events nor a head nor a subscriber",
            param="channel",
            more={"partial": True} if partial else None,
        )
    return _told(_entry(info or unknown(channel), counts[channel]), partial)


def history(channel: str) -> Response:
    """GET /channels/<channel>/events"""
    server = _server()
    check_channel(channel)
    query = params.Query(current_environ()["QUERY_STRING"])
    limit = params.limit(query, DEFAULT_LIMIT) or DEFAULT_LIMIT
    after, before = params.event_id(query, "after"), params.event_id(query, "before")
    page = server.history(channel, after, before, limit)
    return Answer(
        b'{"channel":"%b","events":[%b],"oldest_event_id":%b,"last_event_id":%d,"gap":%b}'
        % (
            channel.encode(),
            b",".join([event.json for event in page.events]),
            encode(page.oldest),
            page.last_event_id,
            b"true" if page.gap else b"false",
        )
    )


def subscribers(channel: str) -> Response:
    """GET /channels/<channel>/subscribers"""
    present, partial = _server().roster.subscribers(check_channel(channel))
    return _told({"channel": channel, "subscribers": [subscriber._asdict() for subscriber in present]}, partial)


def delete(channel: str) -> Response:
    """DELETE /channels/<channel>"""
    _server().delete(check_channel(channel))
    return Answer(b"", None, 204)


def _server() -> Server:
    server: Server = current_app().extensions["bide"]
    return server


def _allow(server: Server, right: Right, channels: Iterable[str]) -> None:
    """What a body names, by a token that is good yet. Raises NotAllowed, Unauthorized."""
    check_again(current_environ(), server.settings)
    permit = permit_of(current_environ(), server.settings)
    if permit is not None:
        permit.check(right, channels)


def _subject(server: Server) -> str:
    """Whose idempotency keys these are."""
    permit = permit_of(current_environ(), server.settings)
    return "" if permit is None else permit.subject


def _leave_to_publish(server: Server) -> Leave | None:
    limits: Limits | None = current_app().extensions.get(LIMITS)
    if limits is None:
        return None
    environ = current_environ()
    return limits.publish(environ, permit_of(environ, server.settings))


def _leave_to_poll(server: Server) -> Leave | None:
    limits: Limits | None = current_app().extensions.get(LIMITS)
    if limits is None:
        return None
    environ = current_environ()
    return limits.poll(environ, permit_of(environ, server.settings))


def _polled(server: Server, environ: dict[str, Any], asked: params.Asked, leave: Leave | None) -> Response:
    client: Any = environ.get("gunicorn.socket")
    permit = permit_of(environ, server.settings)
    client_id = params.client_id(environ, None if permit is None else permit.subject)
    # It ends with the token, in the same way as at its own time.
    timeout = asked.timeout if permit is None else min(asked.timeout, permit.seconds)
    empty, counted_for, pace = (None, None, 0.0) if leave is None else (leave.empty, leave.client, leave.pace_seconds)
    if pace and permit is not None:
        pace = min(pace, permit.seconds)
    if PARKS in environ and UNREAD not in environ and environ["REQUEST_METHOD"] != "HEAD":
        poll = server.subscriber.open(
            asked.cursors,
            client.waiter(),
            timeout=timeout,
            limit=asked.limit,
            several=asked.several,
            client_id=client_id,
            permit=permit,
            counted_for=counted_for,
            pace=pace,
            batch=client.batch,
        )
        if not poll.is_over:
            grant = Grant(poll, empty=empty)
            client.hold(grant)
            return Parking(grant, asked.preference)
        try:
            return _page(poll.page(), asked.preference, empty)
        finally:
            poll.close()
    page = server.subscriber.poll(
        asked.cursors,
        timeout=timeout,
        limit=asked.limit,
        several=asked.several,
        client_id=client_id,
        permit=permit,
        counted_for=counted_for,
        pace=pace,
        hang_up=None if client is None else partial(server.hang_ups.watch, client),
    )
    return _page(page, asked.preference, empty)


def _page(page: Page, preference: str | None, empty: Callable[[], None] | None) -> Response:
    if empty is not None and not page.events:
        empty()
    response = Answer(page.body(), more=[("Last-Event-ID", page.last_event_id)])
    if preference is not None:
        response.headers["Preference-Applied"] = preference
    return response


def _published(content: bytes, appends: list[Appended]) -> Response:
    response = Answer(content)
    if all(appended.replayed for appended in appends):
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _idempotency_key() -> str | None:
    key: str | None = current_environ().get("HTTP_IDEMPOTENCY_KEY")
    return None if key is None else check_key(key)


def _told(body: dict[str, Any], partial: bool) -> Response:
    """What was asked of all workers; said to be partial where one that lives did not answer."""
    return Answer(encode({**body, "partial": True} if partial else body))


def _named(channels: Any) -> list[str]:
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise InvalidRequest('channels is a list of names such as ["news", "user.42"]', param="channels")
    return params.distinct([check_channel(name) for name in channels])


def _entry(info: ChannelInfo, subscribers: int) -> dict[str, Any]:
    return {
        "channel": info.channel,
        "subscribers": subscribers,
        "events": info.events,
        "oldest_event_id": info.oldest_event_id,
        "last_event_id": info.last_event_id,
        "last_published_at": info.last_published_at,
    }
