"""Parameters: a value in bounds, or a refusal that names the parameter and quotes what came."""

import contextlib
import json
import socket
from urllib.parse import unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.channels import params
from app.channels.params import Query
from app.config import Settings
from app.errors import InvalidRequest
from tests.support.app import law

#: What `int()` or `float()` would take, and a plain number is not.
NO_NUMBERS = [
    "",
    " 1",
    "1 ",
    "+1",
    "-1",
    "-0",
    "1_0",
    "1e3",
    "0x1",
    "nan",
    "inf",
    "\u0661",
    "\uff11",
    "1,0",
    "1;",
    "\n1",
]
NO_INTEGERS = [*NO_NUMBERS, "1.0", "1.", ".1", "9" * 17, "9" * 5000]
NO_SECONDS = [*NO_NUMBERS, ".5", "1..0", "1.0.0", "1.\n"]

SETTINGS = Settings(default_timeout_seconds=20, max_timeout_seconds=40)


def environ(query="", method="GET", **headers):
    return {
        "REQUEST_METHOD": method,
        "QUERY_STRING": query,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }


def ask(query="", path="news", method="GET", **headers):
    return params.poll(environ(query, method, **headers), path, SETTINGS)


def ask_by_post(body, **headers):
    return params.poll_of_body(environ(method="POST", **headers), body, SETTINGS)


def refused(param, call, *arguments, **more):
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments, **more)
    assert caught.value.param == param
    assert len(caught.value.detail) < 500


def test_a_poll_that_asks_nothing_special():
    asked = ask()
    assert asked.cursors == {"news": 0}
    assert (asked.timeout, asked.limit, asked.several, asked.preference) == (20, None, False, None)


def test_a_poll_that_asks_everything():
    asked = ask("last_event_id=5&timeout=7.5&limit=10&unknown=1")
    assert asked.cursors == {"news": 5}
    assert (asked.timeout, asked.limit, asked.several) == (7.5, 10, False)


@pytest.mark.parametrize("text", ["0", "7", str(2**53 - 1), "007"])
def test_a_cursor_is_plain_digits(text):
    assert ask(f"last_event_id={text}").cursors == {"news": int(text)}


@pytest.mark.parametrize("text", [*NO_INTEGERS, str(2**53), "Latest", "latest,", "latest latest"])
def test_what_is_no_cursor_is_refused(text):
    refused("last_event_id", ask, last_event_id=text)


def test_the_header_wins_over_the_query():
    assert ask("last_event_id=5", last_event_id="9").cursors == {"news": 9}
    assert ask("last_event_id=5", last_event_id="latest").cursors == {"news": "latest"}


@pytest.mark.parametrize("query", ["last_event_id=1&last_event_id=1", "timeout=1&timeout=2", "limit=1&l=2&limit=1"])
def test_a_parameter_given_twice_is_refused(query):
    refused(query.partition("=")[0], ask, query)


def test_a_parameter_is_decoded_before_it_is_judged():
    assert ask("last%5Fevent%5fid=%31%32").cursors == {"news": 12}
    refused("limit", ask, "limit=1&%6cimit=2")
    refused("limit", ask, "limit=+1")
    refused("limit", ask, "limit=%ff")


def test_a_name_without_a_value_is_an_empty_value():
    refused("limit", ask, "limit")
    assert Query("a&b=").get("a") == ""
    assert Query("a&b=").get("c") is None
    assert Query("").get("") is None
    assert Query("a=b=c").get("a") == "b=c"


def said_at_length(text, name):
    """What a query has for a name: all of its values."""
    pairs = [pair.partition("=")[::2] for pair in text.split("&")] if text else []
    return [unquote_plus(value) for key, value in pairs if unquote_plus(key) == name]


@law
@given(st.lists(st.sampled_from(["a", "b", "%61", "+", "%20", "=", "&", "&&", "%", "%ff", "%C3%BC", "ü", "1", ";"])))
@example(["a", "=", "1", "&", "b", "&", "a", "=", "1", "&", "%61"])
@example(["&&"])
@example(["=", "1", "&", "=", "2"])
def test_a_query_is_what_its_pairs_are_each_refused_only_when_it_is_asked_for(parts):
    text = "".join(parts)
    query = Query(text)
    for name in ("a", "b", "", " ", "ü", "aa", "never"):
        values = said_at_length(text, name)
        if len(values) > 1:
            with pytest.raises(InvalidRequest, match=f"is given {len(values)} times") as caught:
                query.get(name)
            assert caught.value.param == name
        else:
            assert query.get(name) == (values or [None])[0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0.0", 0), ("0.25", 0.25), ("40", 40), ("41", 40), ("9" * 500, 40)]
)
def test_a_hold_is_seconds_and_cut_to_the_longest(text, seconds):
    assert ask(f"timeout={text}").timeout == seconds


@pytest.mark.parametrize("text", NO_SECONDS)
def test_what_is_no_duration_is_refused(text):
    refused("timeout", params.seconds, text, SETTINGS)


@pytest.mark.parametrize("text", [*NO_INTEGERS, "0", "1001"])
def test_what_is_no_limit_is_refused(text):
    refused("limit", params.integer, "limit", text, 1, params.MAX_LIMIT)


def test_a_limit_is_from_1_to_1000():
    assert ask("limit=1").limit == 1
    assert ask("limit=1000").limit == 1000
    refused("limit", ask, "limit=0")
    refused("limit", ask, "limit=1001")


@pytest.mark.parametrize(
    ("prefer", "seconds", "echo"),
    [
        ("wait=7", 7, "wait=7"),
        ("WAIT = 7", 7, "wait=7"),
        ('respond-async, wait="7"; x=y, other', 7, "wait=7"),
        ("wait=0", 0, "wait=0"),
        ("wait=3600", 40, "wait=3600"),
        ("wait=7.5", 20, None),
        ("wait=-1", 20, None),
        ("wait=soon", 20, None),
        ("await=7", 20, None),
        ("wait", 20, None),
        ("", 20, None),
        ("return=minimal", 20, None),
    ],
)
def test_a_preference_is_followed_and_echoed_and_a_bad_one_is_ignored(prefer, seconds, echo):
    asked = ask(prefer=prefer)
    assert (asked.timeout, asked.preference) == (seconds, echo)


def test_the_parameter_wins_over_the_preference():
    asked = ask("timeout=3", prefer="wait=7")
    assert (asked.timeout, asked.preference) == (3, None)


def test_a_head_request_never_waits():
    assert ask("timeout=30", method="HEAD").timeout == 0


def test_several_channels_are_separated_by_commas():
    asked = ask(path="b,a")
    assert list(asked.cursors.items()) == [("b", 0), ("a", 0)]
    assert asked.several
    assert not ask(path="a").several


@pytest.mark.parametrize("path", ["a,", ",a", "a,,b", "a,a", "a, b", "..", ",".join(f"c{n}" for n in range(101))])
def test_what_is_no_list_of_channels_is_refused(path):
    refused("channel", ask, path=path)


def test_a_hundred_channels_fit():
    assert len(ask(path=",".join(f"c{n}" for n in range(100))).cursors) == 100


@pytest.mark.parametrize(
    ("text", "cursors"),
    [("0", [0, 0, 0]), ("latest", ["latest"] * 3), ("12,40,latest", [12, 40, "latest"]), ("0,0,0", [0, 0, 0])],
)
def test_several_cursors_are_one_for_each_or_one_that_means_all(text, cursors):
    assert list(ask(f"last_event_id={text}", path="a,b,c").cursors.values()) == cursors


@pytest.mark.parametrize("text", ["5", "1,2", "1,2,3,4", "1,2,", "0,0", "latest,latest", "1,,3", "1,2,x"])
def test_an_id_is_no_cursor_for_other_channels(text):
    refused("last_event_id", ask, f"last_event_id={text}", path="a,b,c")


def test_a_list_of_cursors_is_none_for_one_channel():
    refused("last_event_id", ask, "last_event_id=1,2", path="a")


def test_a_poll_by_post_names_its_cursors():
    asked = ask_by_post({"channels": {"b": 5, "a": "latest", "c": "7"}, "timeout": 1.5, "limit": 3, "more": 1})
    assert asked.cursors == {"b": 5, "a": "latest", "c": 7}
    assert (asked.timeout, asked.limit, asked.several) == (1.5, 3, True)


def test_a_poll_by_post_of_one_channel_is_one_of_several():
    asked = ask_by_post({"channels": {"a": 0}}, prefer="wait=7")
    assert (asked.several, asked.limit, asked.timeout, asked.preference) == (True, None, 7, "wait=7")
    assert ask_by_post({"channels": {"a": 0}, "timeout": None, "limit": None}).timeout == 20


@pytest.mark.parametrize(("text", "seconds"), [("0.00001", 0.00001), ("1e-7", 0), ("1e300", 40), ("2e1", 20)])
def test_a_hold_by_post_is_a_number_however_python_spells_it(text, seconds):
    assert ask_by_post(json.loads(f'{{"channels": {{"a": 0}}, "timeout": {text}}}')).timeout == seconds


#: JSON values that stand for no number, whatever is asked for.
NO_JSON_NUMBERS = [True, -1, "", "x", [1], {}]
BAD_BODIES = [
    ("channels", {}),
    ("channels", {"channels": ["a"]}),
    ("channels", {"channels": {}}),
    ("channels", {"channels": {f"c{n}": 0 for n in range(101)}}),
    ("channel", {"channels": {"a b": 0}}),
    *[("last_event_id", {"channels": {"a": value}}) for value in (*NO_JSON_NUMBERS, None, 1.0, 1e300, 2**53)],
    *[("timeout", {"channels": {"a": 0}, "timeout": value}) for value in (*NO_JSON_NUMBERS, -1e-7)],
    *[("limit", {"channels": {"a": 0}, "limit": value}) for value in (*NO_JSON_NUMBERS, 0, 1001, 1.0)],
]


@pytest.mark.parametrize(("param", "body"), BAD_BODIES)
def test_a_poll_by_post_is_held_to_the_same_rules(param, body):
    refused(param, ask_by_post, body)


@pytest.mark.parametrize("prefix", ["a", "news.", "@", "..", "x" * 128])
def test_a_prefix_begins_a_name(prefix):
    assert params.prefix(Query(f"prefix={prefix}")) == prefix


@pytest.mark.parametrize("prefix", ["a*", "a b", "%2f", "x" * 129])
def test_what_begins_no_name_is_refused(prefix):
    refused("prefix", params.prefix, Query(f"prefix={prefix}"))


def test_what_is_not_given_begins_at_the_beginning():
    assert params.prefix(Query("")) == ""
    assert params.after_channel(Query("")) == ""
    assert params.limit(Query("")) is None
    assert params.limit(Query(""), 100) == 100
    assert params.event_id(Query(""), "after") is None


def test_an_id_in_history_is_a_number():
    assert params.event_id(Query("after=5"), "after") == 5
    refused("before", params.event_id, Query("before=latest"), "before")


def client(**headers):
    return params.client_id({"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "5", **headers})


def test_a_client_may_name_itself():
    assert client(HTTP_X_CLIENT_ID="ann:1") == "ann:1"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é"])
def test_a_client_without_a_good_name_is_known_by_its_address_which_is_not_told(name):
    assert client(HTTP_X_CLIENT_ID=name) == client()
    assert "10.0.0.1" not in client()
    assert client() != client(REMOTE_PORT="6")


def test_clients_of_a_unix_socket_are_told_apart():
    """They have no address: all that gave no name were one subscriber."""
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(sock) for sock in socket.socketpair()]
        one, other = ({"REMOTE_ADDR": "", "gunicorn.socket": sock} for sock in pair)
        assert params.client_id(one) == params.client_id(one) != params.client_id(other)
