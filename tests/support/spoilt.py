"""Tokens that are spoilt, in every byte and in every way, and heads in which one stands where it does not belong."""

import base64
import hashlib
import hmac
import json
import time

from tests.support.tokens import SECRET

#: Put before a byte of a token, or in its place.
BYTES = b"A=!. ,;\"'\\:%\t\xff\xc3\x00\r\n"


def in_every_byte(token, variants):
    """The texts that differ from a token by one byte more, less or other than it was, and its beginnings; of the bytes
    so many for each place, not the same ones at the next."""
    for place in range(len(token)):
        yield token[:place]
        yield token[:place] + token[place + 1 :]
        yield token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        for number in range(variants):
            byte = bytes([BYTES[(place + number) % len(BYTES)]])
            yield token[:place] + byte + token[place + 1 :]
            yield token[:place] + byte + token[place:]


def is_good(text, token):
    """Whether a text is the token all the same: RFC 9110 lets blanks surround it, PyJWT padding end it."""
    return text.strip(b" ").removesuffix(b"=") == token


def at_random(chance, token):
    """A token with some changes, of more than a byte each. It stays in its line."""
    for _ in range(chance.choice((1, 2, 3, 8))):
        place, end = sorted(chance.randrange(len(token) + 1) for _ in range(2))
        parts = token.split(b".")
        token = chance.choice(
            (
                token[:place] + token[end:],
                token[:place] + token[place:end] * 2 + token[end:],
                token[:place] + chance.randbytes(chance.choice((1, 10, 3000))) + token[place:],
                b".".join(chance.sample(parts, len(parts))),
            )
        )
    return token.replace(b"\n", b"").replace(b"\r", b"")[:6000]


def signed(header, claims):
    """The token of any bytes for header and claims, with a signature that fits."""
    told = b".".join(map(_encoded, (header, claims)))
    return told + b"." + _encoded(hmac.digest(SECRET.encode(), told, hashlib.sha256))


def _encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HEADER = {"alg": "HS256", "typ": "JWT"}
#: What JSON may be, and a header or a claim may not.
_NOTHING = (b"", b"{", b"null", b"[]", b"7", b'"text"', b"1" * 5000, b"[" * 4000, b'{"a":' * 800, b"\xff\xfe", b"{}")
_VALUES = (None, True, False, 0, -1, 1.5, 10**400, "", "x" * 4000, "\ud800", "\0", [], ["HS256"], {}, [[[]]])


def odd():
    """Tokens whose signatures fit, and whose headers and claims are not what they are to be."""
    claims = {"sub": "ann", "exp": int(time.time()) + 3600, "bide": {"subscribe": ["*"]}}
    for nothing in _NOTHING:
        yield signed(nothing, json.dumps(claims).encode())
        yield signed(json.dumps(_HEADER).encode(), nothing)
    for value in _VALUES:
        for name in ("alg", "kid", "typ", "crit", "b64"):
            if name == "alg" or value != _HEADER.get(name):
                yield signed(_json(_HEADER | {name: value}), _json(claims))
        for name in ("sub", "exp", "nbf", "iat", "jti", "aud", "iss", "bide"):
            yield signed(_json(_HEADER), _json(claims | {name: value}))
        for name in ("publish", "subscribe", "admin", "rate"):
            yield signed(_json(_HEADER), _json(claims | {"bide": {name: value}}))
            yield signed(_json(_HEADER), _json(claims | {"bide": {name: [value]}}))
            yield signed(_json(_HEADER), _json(claims | {"bide": {"rate": {name: value}}}))
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 4000, b"0.1", b"-0"):
        for name in (b"exp", b"nbf", b"iat"):
            told = b'{"sub":"ann","exp":%d,"%b":%b}' % (claims["exp"], name, number)
            yield signed(_json(_HEADER), told)


def _json(value):
    return json.dumps(value).encode()


def misplaced(token):
    """Heads that gunicorn refuses, with a token somewhere in them."""
    head = b"GET /channels HTTP/1.1\r\nHost: localhost\r\n"
    chunked = head.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n"
    mine = b"Authorization: Bearer " + token + b"\r\n"
    return {
        "no colon": head + mine.replace(b":", b"") + b"\r\n",
        "a line for itself": head + b"Authorization: Bearer\r\n" + token + b"\r\n\r\n",
        "folded": head + mine.replace(b" ", b"\r\n ") + b"\r\n",
        "a name": head + mine.replace(b":", b"").replace(b"\r", b": 1\r") + b"\r\n",
        "a blank before the colon": head + mine.replace(b":", b" :") + b"\r\n",
        "a null": head + mine.replace(b"\r", b"\0\r") + b"\r\n",
        "a method": token + b" / HTTP/1.1\r\n\r\n",
        "a version": b"GET / HTTP/" + token + b"\r\n\r\n",
        "a query": b"GET channels?access_token=" + token + b" HTTP/1.1\r\n\r\n",
        "a query of no address": b"GET http://[/?access_token=" + token + b" HTTP/1.1\r\n\r\n",
        "a query and more": b"GET /?access_token=" + token + b" HTTP/1.1 HTTP/1.1\r\n\r\n",
        "an expectation": head + b"Expect: " + token + b"\r\n\r\n",
        "a coding": head + b"Transfer-Encoding: " + token + b"\r\n\r\n",
        "a length": head + b"Content-Length: " + token + b"\r\n\r\n",
        "a host": head.replace(b"localhost", token) + b"Host: 1\r\n\r\n",
        "a chunk": chunked + mine + b"\r\n" + token + b"\r\n",
        "behind a chunk": chunked + mine + b"\r\n1\r\n1" + token + b"\r\n",
        "a trailer": chunked + mine + b"\r\n0\r\n" + mine.replace(b":", b"") + b"\r\n",
        "cut off": head + mine[:-2],
        "cut off in a line for itself": head + b"Authorization: Bearer\r\n" + token,
    }
