"""Tokens that were verified once are remembered, until they expire or a key is gone, and not without bound."""

import time
from unittest import mock

import pytest

from app.access import keys, tokens
from app.access.tokens import Tokens
from app.errors import Unauthorized
from app.revocations import Revocations
from tests.support.signing import SECRET, minted

NOW = int(time.time())


def of_secret():
    return Tokens(keys.OneKey(keys.secret(SECRET)), Revocations())


def verifications(tokens):
    """How many tokens it verified, from here on."""
    return mock.patch.object(tokens, "_verified", side_effect=tokens._verified)


def test_a_token_is_verified_once():
    known, token = of_secret(), minted()
    with verifications(known) as verified:
        assert known.permit(token) is known.permit(token)
        assert verified.call_count == 1
        known.forget()
        known.permit(token)
        assert verified.call_count == 2


def test_what_is_no_token_is_not_remembered():
    known = of_secret()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            known.permit(minted("another secret of somebody who is not here"))
    assert not known._known


@pytest.mark.parametrize(("bound", "size"), [("MOST_KNOWN", 3), ("MOST_CHARACTERS", 1000)])
def test_the_tokens_that_are_remembered_are_bounded_in_number_and_in_size(bound, size):
    assert tokens.MOST_KNOWN == 10_000
    assert tokens.MOST_CHARACTERS == 8_000_000
    known = of_secret()
    texts = [minted(sub=f"subject-{number}") for number in range(10)]
    kept = size if bound == "MOST_KNOWN" else size // len(texts[0])
    with mock.patch.object(tokens, bound, size):
        for text in texts:
            known.permit(text)
            assert len(known._known) <= kept
        with verifications(known) as verified:
            for text in texts[-kept:]:
                known.permit(text)
            assert not verified.call_count
            known.permit(texts[0])
            assert verified.call_count == 1


def test_what_is_longer_than_all_that_is_remembered_is_verified_all_the_same():
    known = of_secret()
    with mock.patch.object(tokens, "MOST_CHARACTERS", 10):
        assert known.permit(minted()).subject == "ann"
    assert not known._known


def test_an_expired_token_is_forgotten():
    known, token = of_secret(), minted(exp=NOW + 6000)
    known.permit(token)
    with mock.patch.object(time, "time", return_value=NOW + 7000), pytest.raises(Unauthorized):
        known.permit(token)
    assert not known._known
