"""Publishes a job for each payment on standard input: `echo 17 250 | python publisher.py http://127.0.0.1:8000`."""

import sys

from bide.client import Client

# A server that is restarted or redeployed meanwhile is waited for, for ten minutes.
with Client(sys.argv[1], patience=600) as bide:
    for line in sys.stdin:
        number, amount = map(int, line.split())
        # With a key of its own the job is there once, even if this program is killed here and started anew.
        id = bide.publish("jobs", {"payment": number, "amount": amount}, key=f"payment-{number}")
        print(f"payment {number} is job {id}", flush=True)
