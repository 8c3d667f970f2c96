"""How long the client waits before it tries again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.client import backoff
from app.client.backoff import Backoff, retry_after_of


@pytest.fixture
def at_most(monkeypatch):
    """Chance gives the bound itself."""
    monkeypatch.setattr(backoff.random, "uniform", lambda low, high: high)


def test_the_bound_doubles_up_to_the_most(at_most):
    waits = Backoff(most=3)
    assert [waits.seconds() for _ in range(6)] == [0.25, 0.5, 1, 2, 3, 3]


def test_after_a_success_it_begins_anew(at_most):
    waits = Backoff()
    waits.seconds()
    waits.seconds()
    waits.reset()
    assert waits.seconds() == 0.25


def test_a_server_that_is_away_for_days_is_still_asked(at_most):
    waits = Backoff()
    assert [waits.seconds() for _ in range(5000)][-1] == 30


def test_clients_that_were_thrown_off_together_do_not_come_back_together():
    waits = [Backoff() for _ in range(100)]
    assert len({each.seconds() for each in waits}) > 90


def test_what_the_server_asked_for_is_kept():
    waits = Backoff()
    assert all(7 <= waits.seconds(7) <= 7.25 for waits in [Backoff() for _ in range(100)])
    assert waits.seconds(None) <= 0.25


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), (None, None), ("", None), ("soon", None), ("-3", None), ("1.5", None)],
)
def test_retry_after_is_a_number_of_seconds(text, seconds):
    assert retry_after_of(text) == seconds


def test_or_a_date():
    now = datetime.now(UTC)
    assert 50 < retry_after_of(format_datetime(now + timedelta(seconds=60), usegmt=True)) <= 60
    assert retry_after_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_of("Wed, 21 Oct 2015 07:28:00 -0000") == 0
