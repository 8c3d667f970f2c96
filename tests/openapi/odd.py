"""Requests with parameters in every odd form, and the connection that asks them."""

from collections import Counter
from urllib.parse import quote

import hypothesis
from hypothesis import strategies as st

from tests.conformance.oddities import NOT_INTEGERS
from tests.support.clients import Line

settings = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=200)
#: So many of a test's requests at least are answered well, and so many refused: else it would show nothing.
FEWEST = 15

#: Stand in a query or a path as they are; everything else is percent-encoded, and these may be.
AS_THEY_ARE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~,;:@!$'()*")
#: What is no percent-encoding, and what is none of UTF-8.
BROKEN = [b"%", b"%4", b"%zz", b"%u0031", b"%+1", b"%ff", b"%C0%80", b"%ED%A0%80", b"%00", b"%0A", b"%2F", b"%2f1"]
PIECES = [
    *"0123456789.,-+eE_ \t\n\0/%&=;#?x@~",
    "latest",
    "Latest",
    "nan",
    "0x",
    "\u0661",
    "\uff11",
    "\u00b2",
    "\u2028",
]
PIECES += ["\U0001f600", "bide.", "..", "1.", "\ufeff"]

pieces = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
plain = [
    "0",
    "1",
    "2",
    "5",
    "10",
    "1000",
    "1001",
    "007",
    "0" * 15 + "1",
    "0" * 16 + "1",
    "0.5",
    "0.05",
    "00.10",
    "latest",
]
plain += [
    str(2**53 - 1),
    str(2**53),
    "9" * 16,
    "9" * 17,
    "1" * 400,
    "0,0",
    "0,latest",
    "latest,0",
    "1,2",
    "0,0,0",
    "0,",
]


def weighted(*choices):
    """One of several strategies, each as often as its weight says."""
    # one_of would take a strategy that it is given twice for one.
    pool = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.sampled_from(range(len(pool))).flatmap(pool.__getitem__)


def mostly(good, *others):
    """So often what is good that a request with several parameters is now and then all well."""
    return weighted((8, good), (2, st.one_of(others)))


#: Many, since no request is made twice.
good = st.integers(1, 1000).map(str)


def _python_takes(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


#: Of numbers and cursors.
numbers = weighted(
    (9, good | st.just("0")),
    (3, st.sampled_from([text for text in NOT_INTEGERS if _python_takes(text)])),
    (2, st.sampled_from(plain) | st.sampled_from(NOT_INTEGERS) | pieces),
)
names = st.one_of(
    st.sampled_from(["a", "B", "odd", "a b", "a\tb", "a,b", "a;b", "a*", "\u00e9", "a\n", "a\0", "a" * 64, "a" * 65]),
    st.sampled_from(["a", ".a", "..a", ".", "..", "...", "", "x" * 128, "x" * 129, "x" * 700, "@bide", "@bide.a", "~"]),
    st.lists(st.sampled_from([*PIECES, "a", "b", "C", "_", ":"]), max_size=5).map("".join),
)


@st.composite
def encoded(draw, texts):
    """A text as it may stand in a path or in a query."""
    raw = draw(texts).encode()
    how = draw(st.sampled_from(["least", "least", "%%%02X", "%%%02x"]))
    if how == "least":
        raw = b"".join(bytes([byte]) if byte in AS_THEY_ARE else b"%%%02X" % byte for byte in raw)
    else:
        raw = b"".join((how % byte).encode() for byte in raw)
    return raw + draw(st.sampled_from([b""] * 200 + BROKEN))


@st.composite
def queries(draw, **texts):
    """A query that gives its parameters once, some not at all and some twice, among others that mean nothing."""
    pairs = []
    for name, values in texts.items():
        for _ in range(draw(st.sampled_from([0, 0, 0] + [1] * 16 + [2]))):
            spelt = draw(st.sampled_from([name.encode()] * 9 + [b"%%%02x" % name.encode()[0] + name[1:].encode()]))
            value = draw(encoded(values))
            bare = value == b"" and draw(st.booleans())
            pairs.append(spelt if bare else spelt + b"=" + value)
    pairs += draw(st.lists(st.sampled_from([b"", b"=", b"unknown=1", b"LIMIT=x", b"a=b=c", b"%ff=%ff"]), max_size=2))
    return b"&".join(draw(st.permutations(pairs)))


#: A header's values: bytes that HTTP lets be there, white space around them, none of it, or all of them twice.
_bytes = st.lists(
    st.sampled_from([b" ", b"\t", b"\xb2", b"\xd9\xa1", b"\xff", b"\x80", b",", b"1", b"0", b"a"]), max_size=5
)


@st.composite
def headers(draw, texts):
    value = draw(mostly(texts.map(_header_bytes), _bytes.map(b"".join)))
    value = draw(st.sampled_from([b"", b"", b" ", b"\t "])) + value + draw(st.sampled_from([b"", b"", b" "]))
    return [value] * draw(st.sampled_from([0] * 5 + [1] * 5 + [2]))


def _header_bytes(text):
    return "".join(character for character in text if character not in "\0\n\r").encode()


class Asker:
    """Asks a server, on one connection as long as it is kept."""

    def __init__(self, server):
        self._server = server
        self._line = None

    def ask(self, method, target, headers=(), body=b""):
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: localhost"]
        lines += [name.encode() + b": " + value for name, values in headers for value in values]
        if method == "POST":
            lines.append(b"Content-Length: %d" % len(body))
        if self._line is None:
            self._line = Line(self._server)
        answer = self._line.ask(b"\r\n".join([*lines, b"", b""]) + body)
        assert answer is not None, "it was not answered"
        if answer.closes:
            self._line.sock.close()
            self._line = None
        return answer


def refused(answer, *params):
    """The answer is a problem that names one of the parameters; says so, for a count."""
    assert answer.headers[b"content-type"] == b"application/problem+json", answer.body
    problem = answer.json()
    assert answer.status == problem["status"]
    assert (answer.status, problem.get("param")) in [(400, param) for param in params], problem
    return "refused"


def another_path(answer):
    """A slash was in what should have been a name, or nothing was."""
    assert (answer.status, answer.json()["type"]) == (404, "/problems/not-found")
    return "another path"


def alone(name):
    """Queries that give one parameter and nothing else, each in another form: what hypothesis finds too seldom."""
    return [f"{name}={quote(text)}".encode() for text in (*plain, *NOT_INTEGERS)]


def law(*requests, **strategies):
    """A test that asks some requests, and as many as hypothesis thinks of; each says what became of it."""

    def decorate(test):
        def run(asker, kept):
            became = Counter()

            @settings
            @hypothesis.given(**strategies)
            def each(**drawn):
                became[test(asker, kept, **drawn)] += 1

            for request in requests:
                became[test(asker, kept, **request)] += 1
            each()
            print(became)
            assert became["taken"] >= FEWEST
            assert became["refused"] >= FEWEST

        return run

    return decorate
