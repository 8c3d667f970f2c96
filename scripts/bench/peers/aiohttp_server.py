"""aiohttp's own server."""

import sys

from aiohttp import web
from channels import channels


async def publish(request):
    body = await request.json()
    return web.json_response(channels[request.match_info["name"]].publish(body["message"]))


async def subscribe(request):
    query = request.query
    after, limit = int(query.get("last_event_id", 0)), int(query.get("limit", 0))
    answer, cursor = await channels[request.match_info["name"]].poll(after, float(query.get("timeout", 30)), limit)
    return web.json_response(answer, headers={"Last-Event-ID": str(cursor)})


app = web.Application()
app.add_routes([web.post("/publish/{name}", publish), web.get("/subscribe/{name}", subscribe)])

if __name__ == "__main__":
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        backlog=4096,
        keepalive_timeout=75,
    )
