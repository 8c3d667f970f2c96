"""FastAPI on uvicorn, with uvloop and httptools, as `fastapi[standard]` brings them."""

import sys
from typing import Any

import uvicorn
from channels import channels
from fastapi import FastAPI, Response
from pydantic import BaseModel

app = FastAPI()


class Publication(BaseModel):
    message: Any


@app.post("/publish/{name}")
async def publish(name: str, publication: Publication):
    return channels[name].publish(publication.message)


@app.get("/subscribe/{name}")
async def subscribe(name: str, response: Response, last_event_id: int = 0, timeout: float = 30, limit: int = 0):
    answer, cursor = await channels[name].poll(last_event_id, timeout, limit)
    response.headers["Last-Event-ID"] = str(cursor)
    return answer


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", backlog=4096, timeout_keep_alive=75)
