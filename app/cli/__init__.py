"""The command `bide`: `serve`, and what people and shell scripts ask of a server.

Exit codes: 0, it was done; 1, it failed; 2, it cannot be asked so (options, arguments, settings); 130, it was
interrupted. What went wrong is one sentence on stderr.
"""

from __future__ import annotations

import signal
from importlib import import_module


def main() -> None:
    """What the installed script calls."""
    # Ctrl-C is to leave no trace, also while something is still imported. One that is ignored stays so (nohup, &).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import_module(".group", __package__).bide(prog_name="bide")
