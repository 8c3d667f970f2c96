"""What came of a load."""

from collections import Counter


class Verdict:
    """What was lost, doubled and disordered, and whatever else must not be: how much of each kind, and where."""

    def __init__(self):
        self.counts = Counter(lost=0, doubled=0, disordered=0)
        self.details = []
        #: Events that the store had acknowledged and has no more.
        self.gone = 0

    def find(self, kind, count, detail):
        if count:
            self.counts[kind] += count
            self.details.append(f"{kind}: {count} {detail}")

    def hold(self):
        """Raise where anything was found."""
        assert not self.details, f"{len(self.details)} things: " + "\n".join(self.details[:10])
