"""What a body asks to publish: one message or many, as JSON, as a text or as a form, and what is none of these."""

import contextlib
import io
from urllib.parse import urlencode

import pytest

from app.channels.body import Publication, json_object, publication
from app.errors import InvalidBody, InvalidRequest, MessageRequired, UnsupportedBody

JSON = "application/json"
TEXT = "text/plain"
FORM = "application/x-www-form-urlencoded"


def environ(content, media):
    if isinstance(content, str):
        content = content.encode()
    found = {"CONTENT_LENGTH": str(len(content)), "wsgi.input": io.BytesIO(content)}
    return found if media is None else {**found, "CONTENT_TYPE": media}


def asked(content, media=JSON):
    return publication(environ(content, media), 10**6)


def refused(kind, content, media=JSON, param=None):
    with pytest.raises(kind) as caught:
        asked(content, media)
    assert type(caught.value) is kind
    if param:
        assert caught.value.param == param
    return str(caught.value)


def test_json_with_one_message():
    assert asked('{"message": {"a": 1.0}, "type": "t"}') == Publication([b'{"a":1.0}'], False, "t")


def test_json_with_several_messages():
    content = '{"messages": [1, "a b", [ ], null], "channels": ["a"]}'
    assert asked(content) == Publication([b"1", b'"a b"', b"[]", b"null"], True, None, ["a"])


def test_fields_that_nobody_knows_are_ignored():
    assert asked('{"Message": 2, "message": 1, "more": {}}').messages == [b"1"]


def test_a_name_may_be_written_with_escapes():
    assert asked('{"\\u006dessage": 1}').messages == [b"1"]


@pytest.mark.parametrize("message", ["0", "false", "[]", "{}", "null", '""', "-0", "1" * 400])
def test_every_value_is_taken_from_the_body_as_it_is(message):
    assert asked(f'{{"message":{message}}}').messages == [message.encode()]


@pytest.mark.parametrize("media", [JSON, "Application/JSON", "application/cloudevents+json", f"{JSON}; charset=UTF-8"])
def test_json_is_known_by_its_media_type(media):
    assert asked('{"message":1}', media).messages == [b"1"]


@pytest.mark.parametrize("content", ["", " ", "\r\n", "{}", '{"messages2": []}', '{"type": "t"}'])
def test_json_without_a_message_is_refused(content):
    refused(MessageRequired, content, param="message")


@pytest.mark.parametrize("content", ["[]", "1", '"message"', "null"])
def test_json_that_is_no_object_is_refused(content):
    refused(InvalidBody, content)


def test_message_and_messages_are_not_sent_together():
    refused(InvalidRequest, '{"message": 1, "messages": [1]}', param="messages")
    refused(InvalidRequest, '{"message": null, "messages": [1]}', param="messages")


@pytest.mark.parametrize("messages", ["[]", "{}", "1", "null", '"ab"'])
def test_messages_are_a_list_with_something_in_it(messages):
    refused(InvalidRequest, f'{{"messages": {messages}}}', param="messages")


@pytest.mark.parametrize("kind", ['"error"', '""', "1", "[]", '"bide.x"', "true"])
def test_a_type_that_is_none_is_refused(kind):
    refused(InvalidRequest, f'{{"message": 1, "type": {kind}}}', param="type")


def test_a_type_of_null_is_none():
    assert asked('{"message": 1, "type": null}').type is None


@pytest.mark.parametrize("content", [b"{", b'{"message": 1', b"\xff", b'{"message":1,"message":2}', b'{"message":NaN}'])
def test_json_that_is_none_is_refused(content):
    refused(InvalidBody, content)


@pytest.mark.parametrize("field", ["type", "channels"])
def test_an_integer_of_any_length_is_no_failure_of_the_server(field):
    with contextlib.suppress(InvalidRequest):
        asked(f'{{"message": 1, "{field}": {"1" * 5000}}}')


def test_an_integer_of_any_length_is_no_failure_of_the_server_in_other_calls():
    with contextlib.suppress(InvalidRequest):
        json_object(environ(f'{{"timeout": {"1" * 5000}}}', JSON), 10**6)


def test_a_text_is_a_message():
    assert asked("hello \u00e9\n", TEXT) == Publication(['"hello \u00e9\\n"'.encode()], False, None)
    assert asked("1", f"{TEXT}; charset=utf-8").messages == [b'"1"']
    assert asked("", TEXT).messages == [b'""']


def test_a_text_that_is_no_utf_8_is_refused():
    assert "byte 2" in refused(InvalidBody, b"ab\xff", TEXT)


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "x" * 1000])
@pytest.mark.parametrize("media", [JSON, TEXT, FORM])
def test_another_charset_is_refused(media, charset):
    assert len(refused(UnsupportedBody, '{"message":1}', f"{media}; charset={charset}")) < 300


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", "us-ascii"])
def test_the_charset_may_be_said(charset):
    assert asked("a", f"{TEXT}; format=flowed; Charset={charset}").messages == [b'"a"']


def test_a_form_has_its_message_in_a_field():
    content = urlencode({"message": "h\u00e9 llo&", "type": "t", "other": "x"})
    assert asked(content, FORM) == Publication(['"h\u00e9 llo&"'.encode()], False, "t")


def test_a_form_without_a_message_is_told_how_to_send_a_text():
    for content in ("hello", "", "messages=1", "Message=1"):
        detail = refused(MessageRequired, content, FORM, "message")
        assert "Content-Type: text/plain" in detail
        assert "Content-Type: application/json" in detail


def test_an_empty_field_is_an_empty_message():
    assert asked("message=", FORM).messages == [b'""']


@pytest.mark.parametrize("content", ["message=1&message=2", "message=1&type=a&type=b"])
def test_a_field_that_comes_twice_is_refused(content):
    refused(InvalidRequest, content, FORM)


def test_other_fields_may_come_twice():
    assert asked("x=1&x=2&message=m", FORM).messages == [b'"m"']


@pytest.mark.parametrize("content", [b"message=%ff", "message=\u00e9".encode(), b"message=%ed%a0%80", b"a=1&" * 200])
def test_a_form_that_is_none_is_refused(content):
    refused(InvalidBody, content, FORM)


def test_a_form_with_a_bad_type_is_refused():
    refused(InvalidRequest, "message=1&type=error", FORM, "type")
    refused(InvalidRequest, "message=1&type=", FORM, "type")


@pytest.mark.parametrize(
    "media", ["text/html", "multipart/form-data; boundary=x", "application/xml", "json", "x" * 999]
)
def test_another_kind_of_body_is_refused(media):
    detail = refused(UnsupportedBody, "hello", media)
    assert "application/json, text/plain or application/x-www-form-urlencoded" in detail
    assert len(detail) < 300


def test_a_body_that_says_nothing_of_itself_is_refused():
    refused(UnsupportedBody, "hello", None)
    refused(UnsupportedBody, "hello", "")


def test_no_body_at_all_is_a_missing_message():
    refused(MessageRequired, "", None, "message")


def test_an_object_is_read_for_other_calls():
    content = '{"channels": {"a": 5, "b": "latest"}, "timeout": 1.5}'
    assert json_object(environ(content, JSON), 1000) == {"channels": {"a": 5, "b": "latest"}, "timeout": 1.5}


@pytest.mark.parametrize(
    ("content", "media", "kind"),
    [
        ("[]", JSON, InvalidBody),
        ("", JSON, InvalidBody),
        ('{"a":1,"a":2}', JSON, InvalidBody),
        ("{}", TEXT, UnsupportedBody),
        ("{}", None, UnsupportedBody),
    ],
)
def test_what_is_no_object_is_refused(content, media, kind):
    with pytest.raises(kind):
        json_object(environ(content, media), 1000)
