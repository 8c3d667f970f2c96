"""Messages: any JSON value survives, numbers keep their text, and what no client could read back is refused."""

import json
import time

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from app.errors import InvalidBody, InvalidRequest, MessageRequired, TooLarge
from app.messages import MAX_DEPTH, check_json, check_message, check_type, compact, from_text, from_value
from tests.support.app import law

#: Texts made of what JSON treats specially, and texts of anything.
texts = st.text(' "\\/\t\n\r\0\x1f\x7f[]{},:\u2028\U0001f600u', max_size=12) | st.text(max_size=12)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
spaces = st.text(" \t\r\n", max_size=3)

NUMBERS = [
    "0",
    "-0",
    "1.0",
    "1.10",
    "-0.0",
    "1e5",
    "1E+05",
    "0.1e-7",
    "1e-400",
    "9007199254740993",
    "1234567890123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625",
    "9" * 5000,
]

#: Every kind of text that must not get in, with what the refusal says of it.
REFUSED = {
    b"": "not JSON",
    b"{": "not JSON",
    b'{"a":1,}': "not JSON",
    b"[1] x": "not JSON",
    b"'a'": "not JSON",
    b"01": "not JSON",
    b"+1": "not JSON",
    b".5": "not JSON",
    b"1.": "not JSON",
    b"True": "not JSON",
    b'"\t"': "not JSON",
    b'"\\x41"': "not JSON",
    b"\xef\xbb\xbf1": "not JSON",
    "\u00a01".encode(): "not JSON",
    "\u0661".encode(): "not JSON",
    b'{"a":1,"a":2}': "two members of one name",
    b'[{"b":{"a":1,"\\u0061":2}}]': "two members of one name",
    b"NaN": "no NaN",
    b"[Infinity]": "no Infinity",
    b"-Infinity": "no -Infinity",
    b"1e400": "beyond what a double can hold",
    b"[-1e999]": "beyond what a double can hold",
    b'"\\ud800"': "half a surrogate pair",
    b'"\\uDC00 \\uD800"': "half a surrogate pair",
    b'{"\\udfff":1}': "half a surrogate pair",
    b'"\xed\xa0\x80"': "not UTF-8",
    b'"\xff"': "not UTF-8",
    b'"\xc3': "not UTF-8",
    '"a"'.encode("utf-16"): "not UTF-8",
}


@law
@given(values)
def test_any_value_survives(value):
    text = from_value(value)
    assert json.loads(text) == value
    assert compact(text) == text
    assert b"\n" not in text


@law
@given(values)
def test_what_survives_can_be_read_by_another_parser(value):
    text = from_value(value)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.Raw(text))) == msgspec.json.decode(text)


@law
@given(values, st.booleans(), spaces, spaces, spaces)
def test_space_is_removed_between_tokens_and_nowhere_else(value, ascii_only, before, between, after):
    wide = json.dumps(
        value,
        ensure_ascii=ascii_only,
        indent=" \t ",
        separators=(between + "," + after, before + ":" + between),
    )
    narrow = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    check_json((before + wide + after).encode())
    assert compact((before + wide + after).encode()).decode() == narrow


@law
@given(texts)
def test_a_text_is_a_string(text):
    assert json.loads(from_text(text)) == text
    assert from_text(text).startswith(b'"')


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:12])
def test_a_number_keeps_its_text(number):
    body = f'{{ "a" : [ {number} , 1 ] }}'.encode()
    check_json(body)
    assert compact(body).decode() == f'{{"a":[{number},1]}}'


@pytest.mark.parametrize("text", [rb'"\u0041 \n \/ \" \\ "', b'" \\\\"', b'" \\" , \\" "', '" \u2028 é "'.encode()])
def test_a_string_keeps_its_text_and_its_escapes(text):
    check_json(text)
    assert compact(b" " + text + b" ") == text


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=[str(text)[2:20] for text in REFUSED])
def test_what_no_client_could_read_back_is_refused(text, reason):
    with pytest.raises(InvalidBody, match=reason):
        check_json(text)


@pytest.mark.parametrize("text", [rb'"\ud83d\ude00"', rb'"\\ud800"', b'"\\uD83D\\uDE00"', '"\U0001f600"'.encode()])
def test_whole_pairs_and_what_only_looks_like_half_of_one_pass(text):
    assert check_json(text) == json.loads(text)


def nested(depth, inside=b""):
    return b"[" * depth + inside + b"]" * depth


def test_a_message_nests_to_its_depth_and_no_deeper():
    assert check_message(nested(MAX_DEPTH), 1000)
    with pytest.raises(InvalidBody, match="64 deep"):
        check_message(nested(MAX_DEPTH + 1), 1000)


def test_a_body_nests_two_levels_more():
    check_json(nested(MAX_DEPTH + 2))
    with pytest.raises(InvalidBody, match="64 deep"):
        check_json(nested(MAX_DEPTH + 3))


def test_depth_that_overruns_a_parser_is_refused_before_it_is_parsed():
    for opening in (b"[", b'{"a":'):
        with pytest.raises(InvalidBody, match="64 deep"):
            check_json(opening * 200_000)


def test_brackets_side_by_side_or_inside_strings_are_not_depth():
    check_json(b"[" + b",".join([b"[]"] * 1000) + b"]")
    check_json(nested(MAX_DEPTH, b'"' + b"[" * 1000 + b'\\"[{"'))


def test_the_depth_of_a_text_is_found_in_one_pass():
    begun = time.perf_counter()
    with pytest.raises(InvalidBody):
        check_json(b"[" * 67 + b'"' + b'\\"' * 6000)
    assert time.perf_counter() - begun < 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x", "\ud800", {"\udc00": 1}])
def test_a_value_that_json_cannot_say_is_refused(value):
    with pytest.raises(InvalidBody):
        from_value(value)


def test_a_value_too_deep_or_without_end_is_refused():
    endless: list = []
    endless.append(endless)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(InvalidBody):
            from_value(value)


def test_names_that_become_one_are_refused():
    with pytest.raises(InvalidBody, match="two members"):
        from_value({1: "a", "1": "b"})


def test_half_a_pair_is_no_text():
    with pytest.raises(InvalidBody, match="half a surrogate"):
        from_text("\ud800")


@pytest.mark.parametrize("message", [b"null", b'""'])
def test_a_message_has_content(message):
    with pytest.raises(MessageRequired):
        check_message(message, 1000, "messages")


@pytest.mark.parametrize("message", [b"0", b"false", b"[]", b"{}", b'" "', b"-0", b"[null]"])
def test_what_is_merely_false_is_content(message):
    assert check_message(message, 1000) == message


def test_a_message_may_have_its_bound_and_not_a_byte_more():
    assert check_message(b'"abcd"', 6)
    with pytest.raises(TooLarge, match="6 bytes as compact JSON; this one has 7") as caught:
        check_message(b'"abcde"', 6, "messages")
    assert caught.value.param == "messages"


def test_a_type_is_a_name_or_nothing():
    assert check_type(None) is None
    assert check_type("order.paid") == "order.paid"


@pytest.mark.parametrize("kind", ["", "error", "open", "bide.x", "a b", "x" * 65, 1, True, ["a"], {}])
def test_what_is_no_type_is_refused(kind):
    with pytest.raises(InvalidRequest) as caught:
        check_type(kind)
    assert caught.value.param == "type"
