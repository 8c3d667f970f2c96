"""What the adapters in Python share: the lines of the protocol (tests/client_conformance/README.md)."""

import json
import sys
import threading

_writing = threading.Lock()


def say(**line):
    with _writing:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def asked():
    """What the player asks for, until it has nothing more to ask."""
    say(ready=True)
    for line in sys.stdin:
        yield json.loads(line)


def in_a_thread(work):
    """Do it beside; what it raises is told in the sentence that it says."""

    def run():
        try:
            work()
        except Exception as error:
            say(failed=str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
