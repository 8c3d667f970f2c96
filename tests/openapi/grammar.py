"""A strict reading of docs/protocol.md, by which any spelling of a request's parameters can be judged.

Written from the contract, and knowing nothing of the app: characters are looked at one by one, and nothing here takes a
text for a number before it is one. What each function returns for what may not be is `BAD`.
"""

import string

#: Compared by identity: no value is equal to it.
BAD = object()

DIGITS = frozenset("0123456789")
HEX = frozenset(string.hexdigits.encode())
LETTERS = frozenset(string.ascii_letters)
NAME = LETTERS | DIGITS | frozenset("_.:@~-")
CLIENT_ID = LETTERS | DIGITS | frozenset("_.:-")
VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))
MOST_ID = 2**53 - 1
#: An id has sixteen digits, and so may a number that means one have.
MOST_DIGITS = 16
#: Stands for what is no UTF-8; it is in nothing that may be.
BROKEN = "\ufffd"


def decoded(raw, plus=False):
    """Percent-decoded UTF-8. What begins no pair of digits stays a percent sign; with `plus` + is a space."""
    out, place = bytearray(), 0
    while place < len(raw):
        pair = raw[place + 1 : place + 3]
        if raw[place] == ord("%") and len(pair) == 2 and set(pair) <= HEX:
            out.append(int(pair, 16))
            place += 3
            continue
        out.append(ord(" ") if plus and raw[place] == ord("+") else raw[place])
        place += 1
    return out.decode("utf-8", errors="replace")


def parameters(query):
    """Per name all values that a query gives it."""
    found = {}
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        found.setdefault(decoded(name, plus=True), []).append(decoded(value, plus=True))
    return found


def header(values):
    """What a header says that came so many times: without the white space around, one after another, None if never."""
    if not values:
        return None
    return ",".join(value.decode("latin-1").strip(" \t") for value in values)


def only(values, read, default=None):
    """A parameter that may come once."""
    if not values:
        return default
    return read(values[0]) if len(values) == 1 else BAD


def whole(text, low=0, high=MOST_ID):
    if not 1 <= len(text) <= MOST_DIGITS or not set(text) <= DIGITS:
        return BAD
    value = int(text)
    return value if low <= value <= high else BAD


def limit(text):
    return whole(text, 1, 1000)


def seconds(text):
    parts = text.split(".")
    if len(parts) > 2 or not all(parts) or not all(set(part) <= DIGITS for part in parts):
        return BAD
    return text


def cursor(text):
    return text if text == "latest" else whole(text)


def cursors(text, count):
    """One cursor for each of so many channels."""
    values = [cursor(value) for value in text.split(",")]
    if BAD in values:
        return BAD
    if len(values) == count:
        return values
    return values * count if values in ([0], ["latest"]) else BAD


def name(text):
    return text if 1 <= len(text) <= 128 and set(text) <= NAME and set(text) != {"."} else BAD


def prefix(text):
    return text if 1 <= len(text) <= 128 and set(text) <= NAME else BAD


def names(text):
    """The channels of a poll."""
    found = [name(each) for each in text.split(",")]
    return BAD if BAD in found or len(set(found)) != len(found) or len(found) > 100 else found


def key(text):
    return text if 1 <= len(text) <= 255 and set(text) <= VISIBLE else BAD


def client_id(text):
    return text if 1 <= len(text) <= 64 and set(text) <= CLIENT_ID else BAD
