"""The obvious server with Flask on gunicorn's gevent worker: events in a list per channel, an Event for each poll."""

import time
from collections import defaultdict

from flask import Flask, request
from gevent.event import Event

KEPT = 1000


class Channel:
    def __init__(self):
        self.last = 0
        self.events = []
        self.waiting = set()


app = Flask(__name__)
channels = defaultdict(Channel)


@app.post("/publish/<name>")
def publish(name):
    channel = channels[name]
    channel.last += 1
    event = {"id": channel.last, "channel": name, "message": request.get_json()["message"], "timestamp": time.time()}
    channel.events.append(event)
    del channel.events[:-KEPT]
    waiting, channel.waiting = channel.waiting, set()
    for woken in waiting:
        woken.set()
    return {"status": "published", "channel": name, "event_id": channel.last}


@app.get("/subscribe/<name>")
def subscribe(name):
    channel = channels[name]
    after = int(request.args.get("last_event_id", 0))
    limit = int(request.args.get("limit", 0))
    if channel.last <= after:
        woken = Event()
        channel.waiting.add(woken)
        if not woken.wait(float(request.args.get("timeout", 30))):
            channel.waiting.discard(woken)
    events = channel.events[max(0, len(channel.events) - (channel.last - after)) :] if channel.last > after else []
    if not events:
        return {"status": "timeout", "channel": name, "last_event_id": after}, {"Last-Event-ID": str(after)}
    if not limit:
        return events[0], {"Last-Event-ID": str(events[0]["id"])}
    page = events[:limit]
    last = page[-1]["id"]
    return {"channel": name, "events": page, "last_event_id": last}, {"Last-Event-ID": str(last)}
