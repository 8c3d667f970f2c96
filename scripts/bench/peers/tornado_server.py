"""Tornado, by itself."""

import asyncio
import json
import logging
import sys

from channels import channels
from tornado.web import Application, RequestHandler


class Publish(RequestHandler):
    def post(self, name):
        self.write(channels[name].publish(json.loads(self.request.body)["message"]))


class Subscribe(RequestHandler):
    async def get(self, name):
        after = int(self.get_query_argument("last_event_id", "0"))
        timeout = float(self.get_query_argument("timeout", "30"))
        limit = int(self.get_query_argument("limit", "0"))
        answer, cursor = await channels[name].poll(after, timeout, limit)
        self.set_header("Last-Event-ID", str(cursor))
        self.write(answer)

    def compute_etag(self):
        return None  # A hash of every body, which no other server here makes.


async def main():
    logging.getLogger("tornado.access").disabled = True
    app = Application([(r"/publish/(.+)", Publish), (r"/subscribe/(.+)", Subscribe)])
    app.listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
