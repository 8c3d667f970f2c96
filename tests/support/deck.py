"""Kinds of what may happen, dealt at random."""


class Deck:
    """Each of the kinds comes before any comes again."""

    def __init__(self, kinds, chance):
        self._kinds = list(kinds)
        self._chance = chance
        self._left = []

    def deal(self, may=lambda kind: True):
        """The next one that may come now, None where none of those that are left may."""
        if not self._left:
            self._left = self._chance.sample(self._kinds, len(self._kinds))
        kind = next(filter(may, self._left), None)
        if kind is not None:
            self._left.remove(kind)
        return kind
