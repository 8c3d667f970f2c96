"""What schemathesis leaves to who knows the server: loaded by its command (SCHEMATHESIS_HOOKS)."""

import json

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance


@schemathesis.check
def what_is_allowed_is_done(ctx, response, case):
    """No description says which cursor lies in the future, which time is over, or which key was used before; and JSON
    Schema takes 208.0 for an integer, which is not in plain digits."""
    param = json.loads(response.content).get("param") if response.status_code == 400 else None
    decimal = param == "limit" and isinstance(case.body, dict) and isinstance(case.body.get("limit"), float)
    if param in ("last_event_id", "exp") or decimal or response.status_code == 422:
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.check
def what_is_not_allowed_is_refused(ctx, response, case):
    """A cursor in the query is not looked at where the header has one, which wins."""
    if case.method == "GET" and "Last-Event-ID" in response.request.headers and "last_event_id" in (case.query or {}):
        return None
    return negative_data_rejection(ctx, response, case)
