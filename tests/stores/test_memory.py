"""The memory store: the contract, and what a restart is."""

import pytest

from app.errors import StoreUnavailable
from app.stores import open_store

from .contract import StoreContract
from .support import everything, policy, put


@pytest.fixture
def make(clock):
    def make(kept=None):
        return open_store("memory://", kept or policy(), clock)

    return make


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def make(self, make):
        return make


def test_a_cursor_from_before_a_restart_is_below_the_floor(make, clock):
    cursor = put(make(), "a", 1).last_id
    clock.step(1)
    again = make()
    assert everything(again, "a") == (False, clock.us, clock.us, None, [])
    assert cursor < everything(again, "a").floor
    assert put(again, "a", 2).first_id == clock.us + 1


def test_two_memory_stores_have_nothing_in_common(make):
    one, other = make(), make()
    put(one, "a", 1)
    assert not everything(other, "a").known


def test_a_closed_store_is_not_available(make):
    store = make()
    store.close()
    for call in (store.check, lambda: put(store, "a", 1), lambda: everything(store, "a"), lambda: store.delete("a")):
        with pytest.raises(StoreUnavailable):
            call()
