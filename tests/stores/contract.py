"""What every store promises. A store passes when `class Test…(StoreContract)` with a `make` fixture does.

`make(policy)` opens a fresh store that reads the `clock` fixture. The parts are named for what they are about.
"""

import pytest

from .appending import Appending
from .heads import Heads
from .keys import Keys
from .listening import Listening
from .listing import Listing
from .reading import Reading
from .retaining import Retaining
from .revoking import Revoking


class StoreContract(Appending, Reading, Retaining, Heads, Listing, Keys, Listening, Revoking):
    @pytest.fixture
    def make(self):
        raise NotImplementedError("a fixture that opens the store")

    @pytest.fixture
    def store(self, make, clock):
        """A store that was made a second ago, so that the clock is past its base."""
        store = make()
        clock.step(1)
        return store
