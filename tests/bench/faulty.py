"""A little long-poll server that loses, doubles and reorders what it is told to, and counts what it did.

Every subscriber of a channel is given the channel's stream, one event for each poll or a page; the cursor is a place in
the stream. Faults are made when an event is published, so that all the channel's subscribers meet the same.
"""

import asyncio
import re
import threading
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

PAUSE_SECONDS = 0.3
MESSAGE = re.compile(rb"load\.(\d+)\.(\d+)\.")


class Faulty:
    """Serves in a thread while it is used as a context manager. Faults name the events by their numbers."""

    def __init__(
        self,
        *,
        lose=(),
        double=(),
        delay=(),
        misplace=(),
        nchan=False,
        closing=False,
        slow=False,
        hangup=0,
        pieces=False,
        pause=0,
        refuse=(),
        drop=(),
        refuse_polls=(),
    ):
        self.lose, self.double, self.delay, self.misplace = set(lose), set(double), set(delay), set(misplace)
        #: slow: one subscriber of each channel is answered 20 ms later than the others.
        self.nchan, self.closing, self.slow = nchan, closing, slow
        #: An answer comes in three pieces: half its head, some of its body, the rest.
        self.pieces = pieces
        #: The publish that is answered only PAUSE_SECONDS after its event was given out; those that are refused.
        self.pause, self.refuse = pause, set(refuse)
        #: Publishes whose connection is closed without an answer; polls that are refused, counted from one.
        self.drop, self.refuse_polls = set(drop), set(refuse_polls)
        #: One poll in so many is hung up on without an answer.
        self.hangup, self.polls, self.hung_up = hangup, 0, 0
        self.lost = self.doubled = self.disordered = self.foreign = 0
        self.published = 0
        #: What came: every head, and what had come behind a poll when it was answered.
        self.heads, self.behind = [], set()
        #: Publishes that came before every subscriber had been given what was published before.
        self.early = 0
        self._streams = defaultdict(list)
        self._news = defaultdict(asyncio.Event)
        self._delayed = {}
        self._given = defaultdict(lambda: defaultdict(int))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(5)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def counts(self, subscribers=1):
        """What the load generator has to find with so many subscribers on every channel."""
        lost = self.lost + len(self._delayed)  # what was to come after the next event, and there was no next
        found = {"lost": lost, "doubled": self.doubled, "disordered": self.disordered, "foreign": self.foreign}
        return {name: count * subscribers for name, count in found.items()}

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = head.split(" ", 2)
                self.heads.append(head)
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                channel = urlsplit(target).path.rpartition("/")[2]
                if method == "POST":
                    answer = await self._take(channel, await reader.readexactly(int(headers["content-length"])))
                elif self._is_hung_up_on():
                    break
                elif self.polls in self.refuse_polls:
                    answer = ["503 Not Now"], b"{}"
                else:
                    answer = await self._poll(channel, target, headers, writer)
                    self.behind.add(bytes(reader._buffer))
                lines, body = answer
                if self.closing:
                    lines.append("Connection: close")
                lines = [*lines, f"Content-Length: {len(body)}", "", ""]
                await self._write(writer, "\r\n".join(["HTTP/1.1 " + lines[0], *lines[1:]]).encode(), body)
                if self.closing:
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # The client has gone, or the test.
        finally:
            writer.close()

    async def _write(self, writer, head, body):
        if self.pieces:
            for piece in (head[:20], head[20:] + body[:10]):
                writer.write(piece)
                await asyncio.sleep(0.005)
            writer.write(body[10:])
        else:
            writer.write(head + body)

    def _is_hung_up_on(self):
        self.polls += 1
        hung_up = bool(self.hangup) and self.polls % self.hangup == 0
        self.hung_up += hung_up
        return hung_up

    async def _poll(self, channel, target, headers, writer):
        query = parse_qs(urlsplit(target).query)
        place = int(headers.get("if-none-match", 0) if self.nchan else query["last_event_id"][0])
        stream = self._streams[channel]
        while place >= len(stream):
            self._news[channel].clear()
            await self._news[channel].wait()
        page = stream[place : place + int(query.get("limit", ["1"])[0])]
        place += len(page)
        given = self._given[channel]
        if self.slow and next(iter(given), None) in (None, writer):
            given.setdefault(writer, 0)
            await asyncio.sleep(0.02)
        given[writer] = place
        cursor = [f"ETag: {place}", "Last-Modified: then"] if self.nchan else [f"Last-Event-ID: {place}"]
        return ["200 OK", *cursor], b"\n".join(page)

    async def _take(self, channel, body):
        number = int(MESSAGE.search(body)[2])
        if number in self.drop:
            raise ConnectionError
        if number in self.refuse:
            return ["503 Not Now"], b"{}"
        self._publish(channel, body, number)
        if number == self.pause:
            await asyncio.sleep(PAUSE_SECONDS)
        return ["200 OK"], b"{}"

    def _publish(self, channel, body, number):
        self.published += 1
        stream = self._streams[channel]
        self.early += any(place < len(stream) for place in self._given[channel].values())
        if number in self.lose:
            self.lost += 1
        elif number in self.delay:
            self._delayed[channel] = body
        elif number in self.misplace:
            self.foreign += 1
            self.lost += 1
            stream.append(MESSAGE.sub(rb"load.4000000.\2.", body))
        else:
            stream.append(body)
            if number in self.double:
                self.doubled += 1
                stream.append(body)
            if channel in self._delayed:
                self.disordered += 1
                stream.append(self._delayed.pop(channel))
        self._news[channel].set()
