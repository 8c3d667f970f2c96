"""Names: the rules as docs/protocol.md says them, against the expressions that judge them."""

import string

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.names import (
    Patterns,
    is_channel,
    is_client_id,
    is_own,
    is_part,
    is_pattern,
    is_subject,
    is_type,
    pattern_matches,
    resolved,
)
from tests.support.app import law

CHANNEL_CHARACTERS = string.ascii_letters + string.digits + "_.:@~-"
TYPE_CHARACTERS = string.ascii_letters + string.digits + "_.:-"

channels = st.text(CHANNEL_CHARACTERS, min_size=1, max_size=128).filter(lambda text: text.strip("."))

#: Short, of few characters, and some of the server's own: so that they meet.
meeting = st.one_of(st.text("ab.", min_size=1, max_size=3), st.text("ab.", max_size=2).map("@bide.".__add__))
patterns = st.one_of(meeting, meeting.map(lambda text: text + "*"), st.sampled_from(["*", "@*", "@bide*", "@bide.*"]))

#: What slips through rules that were written in haste.
NO_NAMES = [
    "",
    " ",
    "a b",
    "a/b",
    "a,b",
    "a\n",
    "\na",
    "a\0",
    "é",
    "\u0661",
    "a%20",
    "a*",
    "*",
    "a?",
    "a#b",
    '"',
    "\u212a",
]


@law
@given(channels)
def test_any_text_of_the_characters_is_a_channel(text):
    assert is_channel(text)


@law
@given(st.text(max_size=5))
def test_no_other_text_is_a_channel(text):
    assert is_channel(text) == (bool(text.strip(".")) and all(character in CHANNEL_CHARACTERS for character in text))


@law
@given(st.text(max_size=5))
def test_no_other_text_is_a_type_or_a_client_id(text):
    plain = bool(text) and all(character in TYPE_CHARACTERS for character in text)
    assert is_client_id(text) == plain
    assert is_type(text) == (plain and text not in ("error", "open") and not text.startswith("bide."))


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_at_all(text):
    assert not is_channel(text)
    assert not is_type(text)
    assert not is_client_id(text)


@pytest.mark.parametrize("text", [".", "..", "..." * 40])
def test_a_path_of_dots_is_no_channel(text):
    assert not is_channel(text)
    assert not is_pattern(text)


@pytest.mark.parametrize("text", ["a..", "..a", ".a.", "-", "~", "@", ":"])
def test_dots_beside_something_are_a_channel(text):
    assert is_channel(text)


@pytest.mark.parametrize(("judge", "most"), [(is_channel, 128), (is_type, 64), (is_client_id, 64), (is_pattern, 128)])
def test_a_name_ends_at_its_length(judge, most):
    assert judge("x" * most)
    assert not judge("x" * (most + 1))


def test_a_pattern_is_a_channel_or_a_prefix_with_a_star():
    assert is_pattern("news")
    assert is_pattern("news.*")
    assert is_pattern("*")
    assert is_pattern("..*")
    assert is_pattern("x" * 127 + "*")
    assert not is_pattern("x" * 128 + "*")
    for text in ("", "a*b", "**", "a b*", "*a"):
        assert not is_pattern(text)


@pytest.mark.parametrize("text", ["error", "open", "bide.", "bide.gap"])
def test_what_transports_say_themselves_is_no_type(text):
    assert not is_type(text)


@pytest.mark.parametrize("text", ["errors", "opened", "bide", "Bide.gap", "Error", "x.error"])
def test_what_only_looks_like_it_is_a_type(text):
    assert is_type(text)


@law
@given(channels)
def test_a_channel_is_matched_by_itself_and_by_its_prefixes(channel):
    assert pattern_matches(channel, channel)
    for end in range(len(channel)):
        assert pattern_matches(channel[:end] + "*", channel) == (not is_own(channel) or end >= len("@bide."))


def test_a_channel_is_not_matched_by_anything_else():
    assert not pattern_matches("news", "news.de")
    assert not pattern_matches("news.*", "news")
    assert not pattern_matches("News.*", "news.de")


def test_the_servers_own_channels_are_matched_only_by_patterns_that_name_them():
    assert is_own("@bide.health")
    assert not is_own("@bide")
    assert not pattern_matches("*", "@bide.health")
    assert not pattern_matches("@*", "@bide.health")
    assert not pattern_matches("@bide*", "@bide.health")
    assert pattern_matches("@bide.*", "@bide.health")
    assert pattern_matches("@bide.health", "@bide.health")


@law
@given(st.lists(patterns, max_size=4), meeting.filter(is_channel))
def test_several_patterns_match_what_any_of_them_matches(texts, channel):
    known = [text for text in texts if is_pattern(text)]
    assert Patterns(texts).matches(channel) == any(pattern_matches(text, channel) for text in known)


@law
@given(
    st.lists(patterns, max_size=5), st.sampled_from(["", "a", "b.", "ab", "@", "@bide.", "@bide.a"]), st.sets(meeting)
)
def test_the_ranges_of_several_patterns_have_all_that_they_match_once_and_in_order(texts, prefix, names):
    several = Patterns(texts)
    found = [
        name
        for start, many in several.ranges(prefix)
        for name in sorted(names)
        if (name.startswith(start) and several.matches(name) if many else name == start)
    ]
    assert found == sorted(name for name in names if name.startswith(prefix) and several.matches(name))


def test_no_pattern_matches_nothing():
    assert Patterns([]).ranges("") == []
    assert not Patterns([]).matches("a")
    assert not Patterns([]).matches("@bide.a")


@pytest.mark.parametrize(
    "text", ["", "a*b", "**", "a b", "..", "x" * 129, "x" * 128 + "*", "{sub}", "a,b", "\ud800", "é*"]
)
def test_among_patterns_what_is_none_matches_nothing(text):
    found = Patterns([text, "kept"])
    assert found.texts == ["kept"]
    assert not found.matches(text)
    assert not found.matches("a")


@pytest.mark.parametrize("text", ["a", "..", "@bide.", "~" * 128])
def test_what_has_a_channels_characters_can_be_a_part_of_one(text):
    assert is_part(text)


@pytest.mark.parametrize("text", [*NO_NAMES, "x" * 129])
def test_nothing_else_can_be_a_part_of_a_channel(text):
    assert not is_part(text)


@pytest.mark.parametrize("subject", ["ann", "Ann:1", "ann@shop.example", "..", "~"])
def test_a_pattern_names_the_subject_letter_by_letter(subject):
    assert resolved("user.{sub}.*", subject) == f"user.{subject}.*"
    assert resolved("{sub}-{sub}", subject) == f"{subject}-{subject}"
    assert resolved("user.*", subject) == "user.*"


@pytest.mark.parametrize("subject", ["", "ann smith", "a/b", "a,b", "*", "ann*", "{sub}", "änn", "x" * 129])
def test_a_subject_that_no_channel_can_hold_makes_no_pattern(subject):
    assert resolved("user.{sub}", subject) == ""
    assert resolved("user.*", subject) == "user.*"


def test_no_subject_reaches_the_servers_own_channels_by_its_name():
    assert resolved("{sub}", "@bide.x") == ""
    assert resolved("@{sub}*", "bide.") == ""
    assert resolved("@bide.{sub}", "ann") == "@bide.ann"


def test_a_subject_is_what_can_be_read_and_is_not_too_long():
    assert all(map(is_subject, ["a", "ann smith", "änn", "x" * 255]))
    assert not any(map(is_subject, ["", "a\nb", "a\0", "\ud800", "x" * 256]))
