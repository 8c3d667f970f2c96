"""The Redis store: the contract, on real servers."""

import pytest

from .contract import StoreContract
from .support import policy


class TestRedisStore(StoreContract):
    @pytest.fixture
    def make(self, new_url, joined, clock):
        return lambda kept=None: joined(new_url(), kept or policy(), clock=clock)
