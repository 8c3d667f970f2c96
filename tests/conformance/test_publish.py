"""One event published as JSON: what is answered, and that the message comes back as it was sent."""

import json
import re

import pytest

from .client import assert_problem, assert_published, event, is_event_id

REQUIRED = "Message content is required"


def kept(bide, channel):
    """The text of the channel's first message as a poll shows it."""
    text = bide.poll(channel).text
    return re.search(r'"message"\s*:\s*(.*?)\s*,\s*"timestamp"', text, re.DOTALL).group(1)


def test_a_publish_answers_with_the_channel_and_the_new_id(bide, channel):
    assert_published(bide.publish_json(channel, '{"message": "hello"}'), channel)


def test_ids_grow_from_publish_to_publish(bide, channel):
    ids = [bide.publish(channel, n) for n in range(10)]
    assert ids == sorted(set(ids))
    assert all(is_event_id(each) for each in ids)


def test_the_first_id_of_a_channel_is_its_time_in_microseconds(bide, channel):
    event_id = bide.publish(channel, "first")
    timestamp = bide.polled(channel)["timestamp"]
    assert isinstance(timestamp, float)
    assert abs(event_id / 1_000_000 - timestamp) < 1


def test_a_published_event_is_read_at_once_with_these_four_members(bide, channel):
    event_id = bide.publish(channel, {"text": "hello"})
    body = bide.polled(channel)
    assert body == event(channel, event_id, {"text": "hello"}, body["timestamp"])


@pytest.mark.parametrize(
    "message",
    [
        0,
        -1,
        1.5,
        False,
        True,
        [],
        {},
        " ",
        "0",
        "null",
        [None],
        [""],
        {"": None},
        {"message": {"message": ""}},
        'a\nb\tc\u0000"\\/',
        "gr\u00fc\u00df \u4f60\u597d \U0001f600",
        "\u2028\u2029\u007f\ufeff\uffff",
        {"k\u00e9y": ["\u00e9"]},
        "</script><!--",
        "data: x\n\nid: 5",
    ],
    ids=ascii,
)
def test_any_json_value_that_says_something_is_a_message(bide, channel, message):
    bide.publish(channel, message)
    got = bide.polled(channel)["message"]
    assert got == message
    assert type(got) is type(message)


@pytest.mark.parametrize(
    "text",
    [
        "123456789012345678901234567890",
        "-98765432109876543210",
        "1" + "0" * 100,
        "9007199254740993",
        "1.0",
        "1e5",
        "1E5",
        "1e+5",
        "1.50",
        "-0",
        "-0.0",
        "0.1000000000000000055511151231257827",
        "1e-7",
        "1.7976931348623157e308",
        "[1.0,2.00,3e0]",
        '{"n":1.10}',
    ],
)
def test_numbers_come_back_digit_for_digit(bide, channel, text):
    assert_published(bide.publish_json(channel, f'{{"message": {text}}}'), channel)
    assert kept(bide, channel) == text


def test_a_message_loses_its_insignificant_space_and_nothing_else(bide, channel):
    spread = '{"message":\r\n {\n\t"b" : [ 1 , 2 , { } ] ,\n "a" : "x  y" , "c" : [ ] } \n}'
    assert_published(bide.publish_json(channel, spread), channel)
    assert kept(bide, channel) == '{"b":[1,2,{}],"a":"x  y","c":[]}'
    assert "\n" not in bide.poll(channel).text.rstrip("\n")


def test_an_escaped_surrogate_pair_is_one_character(bide, channel):
    assert_published(bide.publish_json(channel, r'{"message": "\ud83d\ude00"}'), channel)
    assert bide.polled(channel)["message"] == "\U0001f600"


@pytest.mark.parametrize(
    "body",
    ["{}", '{"message": null}', '{"message": ""}', '{"msg": "hello"}', '{"type": "a"}'],
)
def test_a_publish_without_content_is_refused_in_the_words_that_old_clients_know(bide, channel, body):
    assert_problem(bide.publish_json(channel, body), 400, param="message", error=REQUIRED)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    "message",
    [
        r'"\ud800"',
        r'"\udc00\ud800"',
        r'{"\ud800": 1}',
        r'["a\udfffb"]',
        '{"a": 1, "a": 2}',
        r'{"a": 1, "\u0061": 2}',
        '[{"x": {"k": 1, "j": 2, "k": 1}}]',
        "NaN",
        "Infinity",
        "-Infinity",
        "[NaN]",
        "1e999",
        "-1e999",
        '{"n": [1e400]}',
        "01",
        "+1",
        ".5",
        "1.",
        "0x1",
        "'a'",
        "[1,]",
        '{"a":1,}',
        '{"a"}',
        "{1: 2}",
        "undefined",
        "True",
        '"a\nb"',
        '"a\tb"',
        r'"\x41"',
        r'"\u12g4"',
        '"open',
        "[1",
        "1 2",
        "/* */ 1",
    ],
)
def test_what_is_not_sound_json_is_no_message(bide, channel, message):
    assert_problem(bide.publish_json(channel, f'{{"message": {message}}}'), 400)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_a_message_may_nest_to_a_depth_of_64(bide, channel, depth):
    message = "[" * depth + "]" * depth
    assert_published(bide.publish_json(channel, f'{{"message": {message}}}'), channel)
    assert kept(bide, channel) == message


@pytest.mark.parametrize("depth", [65, 100, 1500, 30_000])
def test_a_message_that_nests_deeper_is_refused(bide, channel, depth):
    assert_problem(bide.publish_json(channel, '{"message": ' + "[" * depth + "]" * depth + "}"), 400)
    assert bide.is_unknown(channel)


def test_objects_and_arrays_count_alike_towards_the_depth(bide, channel):
    nested = '{"a":[' * 32 + "]}" * 32
    assert_published(bide.publish_json(channel, f'{{"message": {nested}}}'), channel)
    assert_problem(bide.publish_json(channel, f'{{"message": [{nested}]}}'), 400)


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "}",
        "[1]",
        '"hello"',
        "5",
        "null",
        "hello",
        '{"message": 1} x',
        '{"message": 1}{}',
        "{'message': 1}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(bide, channel, body):
    assert_problem(bide.publish_json(channel, body), 400)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"gr\xfcn"], ids=ascii
)
def test_bytes_that_are_not_utf8_are_refused(bide, channel, bad):
    assert_problem(bide.publish_json(channel, b'{"message": "' + bad + b'"}'), 400)
    assert bide.is_unknown(channel)


def test_members_that_the_server_does_not_know_are_passed_over(bide, channel):
    sent = {"message": "hi", "id": 5, "channel": "other", "timestamp": 0, "user": {"name": "x"}, "ttl": 1}
    [event_id] = assert_published(bide.post(f"/publish/{channel}", json=sent), channel)
    body = bide.polled(channel)
    assert body == event(channel, event_id, "hi", body["timestamp"])


@pytest.mark.parametrize(
    "type_",
    ["a", "x" * 64, "user.joined", "A_b.c:d-9", "bide", "bidex", "errors", "Error", "opened", "OPEN", "0"],
)
def test_a_type_travels_with_its_event(bide, channel, type_):
    event_id = bide.publish(channel, "hi", type=type_)
    body = bide.polled(channel)
    assert body == event(channel, event_id, "hi", body["timestamp"], type=type_)


@pytest.mark.parametrize(
    "type_",
    [
        "",
        "x" * 65,
        "error",
        "open",
        "bide.",
        "bide.gap",
        "a b",
        " a",
        "a\n",
        "a/b",
        "a@b",
        "a~b",
        "\u00e9",
        "\uff41",
        1,
        True,
        1.5,
        [],
        ["a"],
        {},
    ],
    ids=ascii,
)
def test_a_type_outside_its_alphabet_or_reserved_is_refused(bide, channel, type_):
    answer = bide.publish_json(channel, json.dumps({"message": 1, "type": type_}))
    assert_problem(answer, 400, param="type")
    assert bide.is_unknown(channel)
