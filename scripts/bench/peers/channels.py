"""What the servers on asyncio share: a list of events per channel, as in naive_flask.py, and an Event for each poll."""

import asyncio
import time
from collections import defaultdict

KEPT = 1000


class Channel:
    def __init__(self, name):
        self.name = name
        self.last = 0
        self.events = []
        self.waiting = set()

    def publish(self, message):
        self.last += 1
        event = {"id": self.last, "channel": self.name, "message": message, "timestamp": time.time()}
        self.events.append(event)
        del self.events[:-KEPT]
        waiting, self.waiting = self.waiting, set()
        for woken in waiting:
            woken.set()
        return {"status": "published", "channel": self.name, "event_id": self.last}

    async def poll(self, after, timeout, limit):
        """The answer, and the cursor to go on with."""
        if self.last <= after:
            woken = asyncio.Event()
            self.waiting.add(woken)
            try:
                await asyncio.wait_for(woken.wait(), timeout)
            except TimeoutError:
                pass
            finally:
                self.waiting.discard(woken)
        if self.last <= after:
            return {"status": "timeout", "channel": self.name, "last_event_id": after}, after
        events = self.events[max(0, len(self.events) - (self.last - after)) :]
        if not limit:
            return events[0], events[0]["id"]
        page = events[:limit]
        return {"channel": self.name, "events": page, "last_event_id": page[-1]["id"]}, page[-1]["id"]


class Channels(defaultdict):
    def __missing__(self, name):
        self[name] = Channel(name)
        return self[name]


channels = Channels()
