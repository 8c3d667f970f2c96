"""A gunicorn worker whose connections wait without greenlets. `gunicorn.conf.py` chooses it.

A long poll spends its life waiting, and so does a connection between two of them. gunicorn's gevent worker gives each a
greenlet with a stack, a parsed request and an environ, some 17 KiB. Here a connection that waits is a socket, a watcher
of the event loop and some fields:

    READING   nothing, or part of a head, has come; the loop watches for more                   (connection.py)
    QUEUED    something has come, or the time for it is up: it is read in its turn, in a batch
              with others; where its head is not whole it goes back to READING                  (runqueue.py)
    SERVING   the head is whole: a greenlet has it, reads it in one step where it is plain      (plain.py)
              and else by gunicorn's own road, its parser and its checks; calls the WSGI app    (request.py)
    PARKED    the app found nothing to answer yet, wrote down the poll in a grant and ended     (parked.py)
    ANSWERED  the whole answer is with the system; the poll is put away when others have theirs (fanout.py)
    WRITING   the client takes its answer slowly: what it has not taken is kept                 (sender.py)
    CLOSED

One greenlet serves a batch, and another takes over where a request waits. While a connection is QUEUED or ANSWERED
nobody watches it: what else it sends is the system's to keep.

What rouses parked polls (an event, the end of their time, a stopping worker) puts them into one queue, which the loop
works off in slices of a few milliseconds (fanout.py), after whoever published has been answered.
"""

from .worker import Worker

__all__ = ["Worker"]
