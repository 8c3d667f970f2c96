"""Heads of requests: plain ones, and such as differ from those in one thing."""

from app.worker.plain import MOST_BYTES
from tests.gunicorn.test_hostile_heads import REFUSED, TAKEN

CURL = b"GET /subscribe/news?timeout=50 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
BROWSER = (
    b"GET /subscribe/a,b?last_event_id=1,2&x=%20 HTTP/1.1\r\nHost: bide.example:443\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nAccept-Language: de-DE,de;q=0.9\r\nCookie: a=b; c=d\r\n'
    b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nReferer: https://bide.example/a?b#c\r\n\r\n"
)
PUBLISH = (
    b"POST /publish/news HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    b'Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"message": "hello"}'
)
PLAIN = [
    *(CURL, BROWSER, b"GET / HTTP/1.1\r\n\r\n", b"GET /? HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"),
    *(PUBLISH, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
]


def head(*fields, target=b"/a", first=None):
    return b"\r\n".join([first or b"GET %b HTTP/1.1" % target, *fields, b"", b""])


#: Each makes a head as plain as any, with one thing to it.
TARGETS = [
    b"/", b"/a/../b", b"/a//b", b"//a", b"//a/b?c", b"///", b"/?", b"/??", b"/?a?b", b"/a?", b"/a?b=%20&c=%zz&d=+",
    b"/%61", b"/a%2Fb", b"/a%", b"/a%00", b"/a#b", b"/a?b#c", b"/#", b"/a;b=c", b"/a:b", b"/a:8/b", b"/[", b"/]",
    b"/[::1]/", b"/a@b", b"/\\", b"/a\\b", b'/"', b"/<a>", b"/^`{|}~", b"/*", b"*", b"", b"a", b"?a", b"a:80",
    b"http://a/b", b"HTTP://a", b"http:/a", b"/http://a/b", b"/?http://a/b", b"://", b"/ ", b"/a b", b"/a\tb", b"/\x7f",
    b"/\x80", b"/\xff", b"/\xc3\xa4", b"/?\xe4", b"/\0", b"/?\0", b"/\x0b", b"/a\rb", b"/a\nb", b"/?a\n", b"/.", b"/..",
    b"/~a", b"/a,b", b"/$", b"/!", b"/?[", b"/?//a", b"/" + b"a" * 500, b"/?" + b"a" * 500, b"/" + b"a" * MOST_BYTES,
]  # fmt: skip
FIRST_LINES = [
    b"get / HTTP/1.1", b"Get / HTTP/1.1", b"HEAD / HTTP/1.1", b"POST / HTTP/1.1", b"GETS / HTTP/1.1",
    b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET\t/ HTTP/1.1",
    b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / HTTP/1.10", b"GET / HTTP/1.", b"GET / http/1.1",
    b"GET / HTTP/\xb91.1", b"GET /", b"GET", b"GET / HTTP/1.1 HTTP/1.1", b"GET / HTTP/1.1\r", b"\r\nGET / HTTP/1.1",
    b"\r\n\r\nGET / HTTP/1.1", b"\nGET / HTTP/1.1", b"GET / HTTP/1.1\nA: b", b"GET / HTTP/1.1\r\n A: b",
    b"PRI * HTTP/2.0", b"CONNECT /a HTTP/1.1", b"OPTIONS * HTTP/1.1",
]  # fmt: skip
FIELDS = [
    b"Host:", b"Host: ", b"Host: a, b", b"Host: \xe4", b"hOST: a", b"X:", b"X: ", b"X:\t", b"X:a", b"X:  \t a \t ",
    b"X: a b", b"X: a\tb", b"X: a:b", b":", b": a", b"", b" ", b"X", b"X a", b"X : a", b"X\t: a", b" X: a", b"\tX: a",
    b"X: a\r\n b", b"X: a\r\n\tb", b"X: \r\n b", b"X: a\0", b"X: a\nY: b", b"X: a\rY: b", b"X: a\r", b"X:\na",
    b"X: \x0b", b"X: \x0c", b"X: \x1f", b"X: \x7f", b"X: \x80\x85\xa0\xff", b"X: \xa0a\xa0", b"X: \x85", b"X_Y: a",
    b"_: a", b"X-Y: a", b"X--Y: a", b"-: a", b"1: a", b"X.Y: a", b"X!: a", b"X~: a", b"X'Y: a", b"X/Y: a", b"X(Y): a",
    b"X\xe4: a", b"X\xdf: a", b"X\xff: a", b"X\0: a", b"X\x7f: a", b"Content-Length: 0", b"Content-Length: 5",
    b"Content-Length: x", b"Content-Length:", b"content-length: 5", b"Content_Length: 5", b"Content-Type: a/b",
    b"Content-Type:", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"transfer-encoding:",
    b"Transfer_Encoding: chunked", b"Transfer-Encoding: \x0bchunked", b"Expect: 100-continue", b"expect: 100-CONTINUE",
    b"Expect: b", b"Expect:", b"Connection: close", b"Connection: CLOSE", b"Connection: keep-alive",
    b"Connection: Keep-Alive", b"Connection:", b"Connection: upgrade", b"Connection: close, x",
    b"Connection: keep-alive, close", b"Connection: close ", b"Connection: x", b"Upgrade: h2c", b"Upgrade: websocket",
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", b"TE: trailers", b"Trailer: X", b"Keep-Alive: timeout=5", b"Proxy: a",
    b"Proxy-Connection: close", b"Script-Name: /a", b"SCRIPT_NAME: /a", b"SCRIPT_NAME: /x", b"Path-Info: /b",
    b"PATH_INFO: /b", b"Remote-Addr: a", b"REMOTE_ADDR: a", b"Version: HTTP/2", b"Http-Host: a", b"Cookie: a=b",
    b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: HTTPS",
    b"X-Forwarded-Proto: https, http", b"X-Forwarded-Proto:", b"X-Forwarded-Proto: \thttps ",
    b"x-forwarded-proto: https", b"X_Forwarded_Proto: https", b"X-Forwarded-Protocol: ssl",
    b"X-Forwarded-Protocol: tls", b"X-Forwarded-Ssl: on", b"X-Forwarded-Ssl: off", b"X-Scheme: https",
    b"X-Scheme: http", b"X-Https: 1", b"X-Https: 0", b"Forwarded: proto=https", b"Front-End-Https: on",
    b"X-Forwarded-For: a", b"X-Forwarded-Host: a", b"Early-Data: 1", b"Authorization: Bearer a", b"Range: bytes=0-1",
    b"If-None-Match: *", b"Accept: */*", b"X: " + b"a" * 26, b"X: " + b"a" * 25, b"X: " + b"a" * 500,
    b"X: " + b"a" * MOST_BYTES, b"X" * 500 + b": a", b"\r\nX: a",
]  # fmt: skip
#: Of which two say more than each alone.
TELLING = [
    *(b"Host: a", b"host: b", b"Connection: close", b"connection: Keep-Alive", b"X: a", b"X_Y: a", b"X-Y: b", b"x-y: "),
    *(b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"x-forwarded-proto: https", b"X-Scheme: https"),
    *(b"X-Forwarded-Protocol: ssl", b"X-Forwarded-Ssl: off", b"X_Forwarded_Proto: https", b"X-Https: 0", b"X-Https: 1"),
    *(b"Content-Length: 5", b"Content-Type: a/b", b"Transfer-Encoding: chunked"),
]
CORPUS = [
    *PLAIN,
    *(data for _, data in (*REFUSED.values(), *TAKEN.values())),
    *(head(b"Host: a", target=target) for target in TARGETS),
    *(head(b"Host: a", first=first) for first in FIRST_LINES),
    *(head(b"Host: a", field) for field in FIELDS),
    *(head(field, b"Host: a") for field in FIELDS),
    *(head(one, other) for one in TELLING for other in TELLING),
    *(head(*([b"X%d: a" % number for number in range(count)])) for count in (2, 3, 4, 5, 99, 100, 101, 500)),
    *(head(target=b"/" + b"a" * (length - 14)) for length in (39, 40, 41)),
    *(data.replace(b"\r\n", b"\n") for data in PLAIN),
    *(data.replace(b"\r\n", b"\n", 1) for data in PLAIN),
    *(data.replace(b"\r\n", b"\r\r\n", 2) for data in PLAIN),
    *(data[:-2] + b"\n" for data in PLAIN),
    *(data[:-2] for data in PLAIN),
]

#: What differs from a plain POST in one thing: in its length, its type, its body.
LENGTHS = [
    b"5", b"0", b"4", b"05", b"00", b"6", b"26", b"1000", b"999999999", b"9999999999999999999999", b"-5", b"+5", b"5.0",
    b"5_0", b"0x5", b"5 5", b"5, 5", b"5,5", b"", b" ", b"a", b"\xb2", b"\xb5", b"5\t", b"\t5", b" 5 ", b"5\x0b",
    b"5;a",
]  # fmt: skip
POSTS = [
    *(head(b"Host: a", b"Content-Length:" + length, first=b"POST /a HTTP/1.1") + b"hello" for length in LENGTHS),
    *(head(b"Host: a", field, b"Content-Length: 5", first=b"POST /a HTTP/1.1") + b"hello" for field in FIELDS),
    *(head(b"Content-Length: 5", field, first=b"POST /a HTTP/1.1") + b"hello" for field in FIELDS),
    *(head(b"Content-Length: 5", first=b"POST %b HTTP/1.1" % target) + b"hello" for target in TARGETS),
    *(head(b"Content-Length: 5", first=b"POST /a HTTP/1.1") + body for body in (b"hell\n", b"a\nb\nc", b"\r\n\r\na")),
    *(
        head(b"Content-Length: 5", first=b"%b /a HTTP/1.1" % method) + b"hello"
        for method in (b"PUT", b"post", b"POSTS")
    ),
    *(head(b"Content-Length: %d" % size, first=b"POST /a HTTP/1.1") + b"x" * size for size in (100, 9000, 70000)),
]
