"""Spellings that a careless parser takes for a number, or for a channel's name."""


def label(value):
    """A test's id: readable, and short where the value is not."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:12]}...{len(text)}"


# Python's int() and float() take many of these.
NOT_PLAIN_DIGITS = [
    "",
    " ",
    " 1",
    "1 ",
    "\t1",
    "1\n",
    "1 0",
    "-1",
    "-0",
    "+1",
    "--1",
    "1e3",
    "1E3",
    "1e-3",
    "0x10",
    "0b1",
    "0o7",
    "1_000",
    "1'000",
    "1/2",
    "1.2.3",
    "1;2",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e999",
    "abc",
    "1a",
    "null",
    "None",
    "true",
    "[1]",
    '"1"',
    "%31",
    "\u0661\u0662",
    "\uff11",
    "\u00b2",
    "\u00bd",
    "\u2167",
    "\u22121",
]

NOT_INTEGERS = [*NOT_PLAIN_DIGITS, "1.0", "1.5", "0.0", "1.", ".5"]

# As they stand in a URL, each one path segment. Zero bytes and one or two dots are in test_names.py, since proxies
# refuse or rewrite them.
NOT_NAMES = [
    "...",
    "......",
    "a" * 129,
    "a" * 1000,
    "%20",
    "a%20b",
    "a%20",
    "%09",
    "a%0A",
    "a%0D",
    "a%7F",
    "a%21b",
    "a!b",
    "a%22b",
    "a%23b",
    "a$b",
    "a%25b",
    "a&b",
    "a'b",
    "a(b",
    "a*b",
    "a+b",
    "a%2Bb",
    "a;b",
    "a=b",
    "a%3Cb",
    "a%3Fb",
    "a%5Bb",
    "a%5Cb",
    "a%5Eb",
    "a%60b",
    "a%7Bb",
    "a%7Cb",
    "%C3%A9",
    "%EF%BD%81",
    "%D0%B0",
    "%D9%A1",
    "%E2%80%8Ba",
    "%F0%9F%98%80",
    "%FF",
    "%ED%A0%80",
]

# The same in a JSON body, where nothing is encoded.
NOT_NAMES_IN_JSON = [
    "",
    ".",
    "..",
    "...",
    "a" * 129,
    "a b",
    "a\n",
    "a\u0000",
    "a/b",
    "a,b",
    "a*",
    "\u00e9",
    "\uff41",
]
