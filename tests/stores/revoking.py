"""Part of the store contract: revocations."""

import pytest

from app.errors import TooManyRevocations
from app.stores.base import REVOKED_SECONDS, Revocation

from .support import Ear, policy, sweep

DAY = 86_400


class Revoking:
    @pytest.fixture
    def sub(self, clock):
        """Makes a revocation of a subject, as of the clock's beginning and for a day."""
        begin = int(clock())
        return lambda value="ann", issued=0, until=DAY: Revocation("sub", value, begin + issued, begin + until)

    def test_what_was_revoked_is_listed(self, store, sub):
        assert store.revocations() == []
        one = Revocation("jti", "7", 0, sub().until)
        assert store.revoke(sub()) == sub()
        assert store.revoke(one) == one
        assert sorted(store.revocations()) == [one, sub()]

    def test_what_is_revoked_again_moves_forward_and_never_back(self, store, sub):
        store.revoke(sub(issued=10, until=100))
        assert store.revoke(sub(issued=5, until=200)) == sub(issued=10, until=200)
        assert store.revoke(sub(issued=20, until=50)) == sub(issued=20, until=200)
        assert store.revocations() == [sub(issued=20, until=200)]

    def test_tokens_are_told_apart_to_the_letter(self, store, sub):
        values = ["a", "A", "a ", " a", "é", "e\u0301", "a:b", "sub:a", "\U0001f600", "'\"\\", "x" * 255, "1", "01"]
        for value in values:
            store.revoke(sub(value))
            store.revoke(sub(value)._replace(claim="jti"))
        assert sorted(each.tokens for each in store.revocations()) == sorted(
            (claim, value) for value in values for claim in ("sub", "jti")
        )

    def test_it_is_announced_before_it_returns(self, store, sub):
        ear = Ear()
        store.listen(ear)
        store.revoke(sub())
        store.revoke(sub())
        assert ear.controls == [("revoked", sub()._asdict())] * 2

    def test_it_is_kept_until_its_tokens_have_surely_expired_and_then_forgotten(self, store, sub, clock):
        last = sub("last", until=2 * DAY)
        store.revoke(sub())
        store.revoke(last)
        clock.step(DAY + REVOKED_SECONDS - 1)
        assert len(store.revocations()) == 2
        clock.step(1)
        sweep(store)
        assert store.revocations() == [last]

    def test_what_has_ended_is_not_joined_with_what_is_revoked_anew(self, store, sub, clock):
        store.revoke(sub(issued=10 * DAY, until=1))
        clock.step(1 + REVOKED_SECONDS)
        assert store.revoke(sub()) == sub()

    def test_no_more_are_kept_than_may_be_and_one_more_is_refused(self, make, sub):
        store = make(policy(max_revocations=2))
        ear = Ear()
        store.listen(ear)
        store.revoke(sub("a"))
        store.revoke(sub("b"))
        for _ in range(2):
            with pytest.raises(TooManyRevocations, match="BIDE_MAX_REVOCATIONS"):
                store.revoke(sub("c"))
        store.revoke(sub("b", until=2 * DAY))  # which is there already
        assert sorted(each.value for each in store.revocations()) == ["a", "b"]
        assert [data["value"] for _, data in ear.controls] == ["a", "b", "b"]

    @pytest.mark.parametrize("swept", [True, False])
    def test_those_that_ended_make_room(self, make, sub, clock, swept):
        store = make(policy(max_revocations=3))
        for value in "abc":
            store.revoke(sub(value, until=1 if value != "b" else DAY))
        clock.step(1 + REVOKED_SECONDS)
        if swept:
            sweep(store)
        store.revoke(sub("d"))
        store.revoke(sub("a"))
        assert sorted(each.value for each in store.revocations()) == ["a", "b", "d"]
        with pytest.raises(TooManyRevocations):
            store.revoke(sub("c"))
