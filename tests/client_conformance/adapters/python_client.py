"""The adapter of Bide's Python client."""

import time
from functools import partial

from app.client import Client

from .lines import asked, in_a_thread, say


def tell(event):
    said = {"id": event.id, "channel": event.channel, "message": event.message, "timestamp": event.timestamp}
    say(event=said if event.type is None else {**said, "type": event.type})


def tell_gap(gap):
    say(gap={"channel": gap.channel, "oldest_event_id": gap.oldest_event_id})


def follow(subscription, pause):
    for event in subscription:
        tell(event)
        time.sleep(pause)


def publish(client, told):
    say(published=client.publish(told["channel"], told["message"]))


clients, threads = [], []
for told in asked():
    match told["do"]:
        case "subscribe":
            clients.append(Client(told["url"]))
            names = ("since", "hold", "cursor_file")
            options = {name: told[name] for name in names if name in told}
            subscription = clients[-1].subscribe(*told["channels"], on_gap=tell_gap, **options)
            threads.append(in_a_thread(partial(follow, subscription, told["pause"])))
        case "publish":
            clients.append(Client(told["url"], patience=told["patience"]))
            threads.append(in_a_thread(partial(publish, clients[-1], told)))
        case "close":
            for client in clients:
                client.close()
            for thread in threads:
                thread.join()
            say(closed=True)
            break
