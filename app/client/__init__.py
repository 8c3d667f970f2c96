"""The Python client: publishes to a Bide server and follows its channels, whatever happens on the way.

    from bide.client import Client

    with Client("http://127.0.0.1:8000") as bide:
        bide.publish("news", {"hello": "world"})
        for event in bide.subscribe("news", "user.42"):
            print(event.id, event.message)

It needs requests and nothing of the server, whose HTTP interface alone it uses. It starts no thread unless it is asked
to (`Client.listen`), and works in a process that gevent has patched as in one that it has not.
"""

from .client import Client
from .errors import BadAnswer, ClientError, NotAllowed, Refused, Unavailable, Unreachable
from .events import ChannelInfo, Event, Gap, Page
from .listening import Listening
from .subscription import Subscription

__all__ = [
    "BadAnswer",
    "ChannelInfo",
    "Client",
    "ClientError",
    "Event",
    "Gap",
    "Listening",
    "NotAllowed",
    "Page",
    "Refused",
    "Subscription",
    "Unavailable",
    "Unreachable",
]
