"""The black-box suite: what any Bide server does, seen through HTTP alone.

pytest tests/conformance                          against servers that the suite starts itself, see conftest.py
pytest tests/conformance --url http://host:8000   against one that runs already
pytest tests/conformance --url … -m "not direct"  against one behind a proxy
"""

import pytest

pytest.register_assert_rewrite(__name__ + ".client")
