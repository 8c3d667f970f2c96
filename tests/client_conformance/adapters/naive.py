"""The naive client's adapter. That client cannot be closed, so its program ends where another's subscription would."""

from functools import partial

from tests.client_conformance import naive

from .lines import asked, in_a_thread, say


def publish(told):
    say(published=naive.publish(told["url"], told["channel"], told["message"]))


for told in asked():
    match told["do"]:
        case "subscribe":
            in_a_thread(partial(naive.follow, told["url"], told["channels"], lambda event: say(event=event)))
        case "publish":
            in_a_thread(partial(publish, told))
        case "close":
            say(closed=True)
            break
