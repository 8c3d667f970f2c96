"""Every path of the server, with every method, asked with every kind of token, on both workers.

What each call needs is written down here again, in this file's own words: a path that is added without a line here
fails, and so does one whose need was changed. Whatever was refused has stored nothing and deleted nothing.
"""

import itertools
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import NamedTuple

import pytest

from app import create_app
from app.access.admission import NEEDS
from app.config import Settings
from tests.support.servers import PATIENCE_SECONDS, Server
from tests.support.tokens import ENV, RIGHTS, all_rights, bearer, token

#: Connections that ask at once.
AT_ONCE = 4
#: Of the server's channels so many come in one answer, and may be published to in one request.
PAGE, SEVERAL = 1000, 100


class Call(NamedTuple):
    """What a call needs, a right, or ALL of admin, or ANY token, or nothing (None); how many channels it is asked for;
    its body, made of them; what it answers to who may, and what it does to the events of the channels."""

    right: str | None
    channels: tuple = (0,)
    body: object = None
    good: int = 200
    does: object = lambda events: events


ANY = "any"
ALL = "admin of every channel"


def publishes(events):
    return events + 1


#: By endpoint.
CALLS = {
    "channels.publish": Call("publish", (1,), lambda names: {"message": "more"}, does=publishes),
    "channels.publish_several": Call(
        "publish", (1, 3), lambda names: {"channels": names, "message": "more"}, does=publishes
    ),
    "channels.subscribe": Call("subscribe", (1, 3)),
    "channels.subscribe_several": Call(
        "subscribe", (1, 3), lambda names: {"channels": dict.fromkeys(names, 0), "timeout": 0}
    ),
    "channels.list_channels": Call(ANY),
    "channels.show_channel": Call("subscribe", (1,)),
    "channels.history": Call("subscribe", (1,)),
    "channels.subscribers": Call("presence", (1,)),
    "channels.delete": Call("admin", (1,), good=204, does=lambda events: 0),
    "access.begin_session": Call(ANY),
    "access.end_session": Call(None, good=204),
    "access.revoke": Call(ALL, body=lambda names: {"jti": "of nobody"}),
    "service.greet": Call(None),
    "service.alive": Call(None),
    "service.ready": Call(None),
    "service.describe": Call(None),
}


def of(text):
    return f"Bearer {text}"


def all_of(names):
    return {right: [*names, "*"] for right in RIGHTS}


#: Of who has no good token: the header Authorization, made of what a good one would claim; None where there is none.
NOBODY = {
    "no header": lambda claims: None,
    "an empty header": lambda claims: "",
    "no token": lambda claims: "Bearer",
    "an empty token": lambda claims: "Bearer  ",
    "garbage": lambda claims: of("garbage"),
    "dots": lambda claims: of(".."),
    "another scheme": lambda claims: "Basic YW5uOnNlY3JldA==",
    "no scheme": lambda claims: token(claims),
    "two": lambda claims: of(token(claims)) + ", " + of(token(claims)),
    "expired": lambda claims: of(token(claims, exp=1_000_000_000)),
    "without an end": lambda claims: of(token(claims, exp=None)),
    "of no subject": lambda claims: of(token(claims, sub=None)),
    "not signed": lambda claims: of(token(claims, secret=None, algorithm="none")),
    "signed by somebody else": lambda claims: of(token(claims, secret="another secret, which is as long as it has to")),
    "signed in another way": lambda claims: of(token(claims, algorithm="HS512")),
    "cut": lambda claims: of(token(claims))[:-1],
}


class Claim(NamedTuple):
    """Of a good token: its claim, made of the right and the channels; whether that allows it; its subject, which is the
    first of the channels' names up to the dot unless it is given."""

    made: object
    allows: object
    sub: str | None = None


def always(channels):
    return True


def never(channels):
    return False


def of_one(channels):
    return len(channels) == 1


def family(channels):
    return channels[0].partition(".")[0]


CLAIMS = {
    "nothing": Claim(lambda right, names: None, never),
    "no channel": Claim(lambda right, names: {right: []}, never),
    "every other right": Claim(lambda right, names: {each: [*names, "*"] for each in RIGHTS if each != right}, never),
    "other channels": Claim(lambda right, names: {right: [f"{name}x" for name in names]}, never),
    "parts of their names": Claim(lambda right, names: {right: [name[:-1] for name in names]}, never),
    "a prefix that is too long": Claim(lambda right, names: {right: [f"{name}.*" for name in names]}, never),
    "the first of them": Claim(lambda right, names: {right: names[:1]}, of_one),
    "the last of them": Claim(lambda right, names: {right: names[-1:]}, of_one),
    "these": Claim(lambda right, names: {right: names}, always),
    "their prefix": Claim(lambda right, names: {right: [f"{family(names)}.*"]}, always),
    "every channel": Claim(lambda right, names: {right: ["*"]}, always),
    "everything": Claim(lambda right, names: all_of(names), always),
    "channels of the subject": Claim(lambda right, names: {right: ["{sub}.*"]}, always),
    "channels of another subject": Claim(lambda right, names: {right: ["{sub}.*"]}, never, "bob"),
    "a subject that would be a pattern": Claim(lambda right, names: {right: ["{sub}"]}, never, "*"),
}
#: For a channel of the server's own, which is for those who administer it by its name.
OWN_CLAIMS = {
    "every channel": Claim(lambda right, names: all_of([]), never),
    "every other right": Claim(lambda right, names: all_of(["@bide.*", *names]) | {"admin": ["*"]}, never),
    "another one": Claim(lambda right, names: {"admin": ["@bide.another"]}, never),
    "a subject that would be one": Claim(lambda right, names: {"admin": ["{sub}.a"]}, never),
    "this": Claim(lambda right, names: {"admin": names}, always),
    "every one": Claim(lambda right, names: {"admin": ["@bide.*"]}, always),
}


#: A page of the server's own origin, which is known when there is a server.
OWN_PAGE = "its own"
#: Good claims in a cookie, by what the page that asks is, and bad ones.
IN_COOKIES = {
    "of a page of the server's": (CLAIMS["these"], OWN_PAGE),
    "of no page": (CLAIMS["these"], None),
    "of a page of the server's, for other channels": (CLAIMS["other channels"], OWN_PAGE),
}


class Case(NamedTuple):
    """One request, and what comes of it."""

    name: str
    method: str
    path: str
    channels: list
    headers: dict
    body: object
    status: int
    #: What a refusal must say is missing.
    missing: str
    #: How many events each of the channels has afterwards, where one was there before.
    events: int


def cases():
    """Each rule of the URL map x each method x as many channels as it may be asked for x each kind of token."""
    app = create_app(Settings(store="memory://"))
    app.extensions["bide"].close()
    numbers = itertools.count()
    for rule in app.url_map.iter_rules():
        call = CALLS[rule.endpoint]
        for method, count in itertools.product(sorted({*rule.methods, "PUT"}), call.channels):
            for name, header in NOBODY.items():
                names = named(next(numbers), count)
                value = header(all_of(names))
                yield case(rule, method, name, names, {} if value is None else {"Authorization": value}, 401)
            for name, claim in CLAIMS.items():
                yield of_claim(rule, method, name, named(next(numbers), count), claim)
            for name, (claim, page) in IN_COOKIES.items():
                yield of_cookie(rule, method, name, named(next(numbers), count), claim, page)
            for name, claim in OWN_CLAIMS.items() if count == 1 else ():
                yield of_claim(rule, method, name, [f"@bide.{next(numbers)}.a"], claim)


def named(number, count):
    return [f"who-{number}.{letter}" for letter in "abc"[:count]]


def of_claim(rule, method, name, names, claim):
    headers = {"Authorization": of(made(rule, names, claim))}
    return case(rule, method, f"claims {name}", names, headers, refused(rule, names, claim))


def of_cookie(rule, method, name, names, claim, page):
    headers = {"Cookie": f"a=b; __Host-bide={made(rule, names, claim)}"} | ({} if page is None else {"Origin": page})
    status = refused(rule, names, claim)
    if method in ("POST", "DELETE") and page is None:
        status = 403
    elif rule.endpoint == "access.begin_session":
        status = 401  # it is made of a header's token alone
    # Whoever ends a session with a cookie shows that it may.
    return case(rule, method, f"a cookie {name}", names, headers, status, always=rule.endpoint == "access.end_session")


def made(rule, names, claim):
    """Who may call it with any token may do so with any claim."""
    return token(claims_of(rule, names, claim), sub=claim.sub or (family(names) if names else "ann"))


def claims_of(rule, names, claim):
    right = CALLS[rule.endpoint].right
    return claim.made({ANY: "subscribe", None: "subscribe", ALL: "admin"}.get(right, right), names or ["who-ever.a"])


def refused(rule, names, claim):
    right = CALLS[rule.endpoint].right
    if right is ALL:
        return None if "*" in (claims_of(rule, names, claim) or {}).get("admin", ()) else 403
    return None if right in (ANY, None) or claim.allows(names) else 403


def case(rule, method, name, names, headers, refused, always=False):
    call = CALLS[rule.endpoint]
    is_own = any(each.startswith("@") for each in names)
    if method == "OPTIONS":
        status = 200
    elif method == "PUT":
        status = 405
    elif refused is not None and (always or call.right is not None):
        status = refused
    elif is_own and method in ("POST", "DELETE") and call.does(1) != 1:
        status = 403  # nobody may do that
    elif is_own and rule.endpoint == "channels.show_channel":
        status = 404  # there is none yet
    else:
        status = call.good
    path = re.sub("<[a-z]+>", ",".join(names), rule.rule) + "?timeout=0"
    missing = "" if call.right is None else "bide.admin" if is_own else f"bide.{call.right.split()[0]}"
    events = call.does(1) if status == call.good and method != "OPTIONS" else 1
    body = call.body(names) if call.body and method in ("POST", "PUT") else None
    return Case(f"{method} {path}, {name}", method, path, names, headers, body, status, missing, events)


class Asker(threading.local):
    """A kept connection of each thread."""

    def __init__(self, server):
        self._origin = server.url
        self._connection = HTTPConnection(*server.address, timeout=PATIENCE_SECONDS)

    def ask(self, case):
        """The fault of the answer, None where there is none."""
        headers = dict(case.headers)
        if headers.get("Origin") == OWN_PAGE:
            headers["Origin"] = self._origin
        content = None if case.body is None else json.dumps(case.body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(case.method, case.path, content, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        faults = [answer.status != case.status]
        if answer.status == 401:
            faults.append(not answer.headers["WWW-Authenticate"].startswith("Bearer "))
        if answer.status == 403 and b"not-allowed" in content:
            faults.append(case.missing not in json.loads(content)["detail"])
        if answer.status >= 400 and case.method != "HEAD":
            faults.append(answer.headers["Content-Type"] != "application/problem+json")
        return f"{case.name}: {answer.status}, not {case.status}: {content[:300]!r}" if any(faults) else None


@pytest.fixture(scope="module", params=["conf", "plain"])
def server(request, tmp_path_factory):
    """With Bide's worker, and with nothing but gunicorn's `-k gevent`."""
    with Server(tmp_path_factory.mktemp(request.param), conf=request.param == "conf", env=ENV) as server:
        yield server
        assert "Traceback" not in server.output()


def asked(server, method, path, body=None):
    status, _, content = server.request(method, path, body, bearer(all_rights()))
    assert status == 200, content
    return json.loads(content)


def events_of_all(server):
    found, after = {}, ""
    while after is not None:
        page = asked(server, "GET", f"/channels?limit={PAGE}&prefix=who-{after and '&after='}{after}")
        found |= {entry["channel"]: entry["events"] for entry in page["channels"]}
        after = page["next"]
    return found


def test_every_path_answers_every_token_as_it_may_and_what_is_refused_changes_nothing(server):
    all_cases = list(cases())
    names = [name for case in all_cases for name in case.channels if not name.startswith("@")]
    for begin in range(0, len(names), SEVERAL):
        asked(server, "POST", "/publish", {"channels": names[begin : begin + SEVERAL], "message": "kept"})
    asker = Asker(server)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        faults = [fault for fault in threads.map(asker.ask, all_cases) if fault]
    assert faults == []
    assert len(all_cases) > 1500
    assert {case.status for case in all_cases} == {200, 204, 401, 403, 404, 405}
    wanted = {name: case.events for case in all_cases for name in case.channels if not name.startswith("@")}
    found = events_of_all(server)
    assert {name: (found[name], events) for name, events in wanted.items() if found[name] != events} == {}


def test_each_path_is_in_the_table_and_in_this_test():
    app = create_app(Settings(store="memory://"))
    app.extensions["bide"].close()
    paths = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert paths == set(NEEDS) == set(CALLS)
