"""What a permit allows: the patterns of its claims, its subject in them, and the server's own channels."""

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.access.permit import RIGHTS, Permit
from app.errors import NotAllowed
from app.names import is_channel, pattern_matches
from app.revocations import Revocations
from tests.support.app import law, problem, serving
from tests.support.signing import SECRET, minted

OWN = "@bide.health"


def permit(subject="ann", revoked=None, expires_at=4e9, **claims):
    return Permit(subject, claims, expires_at=expires_at, revoked=revoked or Revocations())


def allows(permit, right, *channels):
    try:
        permit.check(right, channels)
    except NotAllowed:
        return False
    return True


def test_each_right_has_a_claim_of_its_own():
    for right in RIGHTS:
        allowed = permit(**{right: ["a"]})
        assert [each for each in RIGHTS if allows(allowed, each, "a")] == [right]


def test_without_claims_nothing_is_allowed():
    assert not any(allows(permit(), right, channel) for right in RIGHTS for channel in ("a", OWN, "", "*"))


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("news", ["news"], ["News", "news.", "new", "newsx", "anews", ""]),
        ("news.*", ["news.a", "news.", "news.a.b"], ["news", "newsa", "News.a"]),
        ("*", ["a", "..a", "@x", "@bide"], [OWN]),
        ("", [], ["", "a"]),
        ("a b", [], ["a b"]),
        ("a*b", [], ["a*b", "axb", "ab"]),
        ("**", [], ["a", "*"]),
        ("a,b", [], ["a,b", "a", "b"]),
    ],
)
def test_a_pattern_is_an_exact_name_or_a_prefix(pattern, matched, others):
    allowed = permit(subscribe=[pattern])
    assert all(allows(allowed, "subscribe", channel) for channel in matched)
    assert not any(allows(allowed, "subscribe", channel) for channel in others)


def test_all_channels_of_a_request_are_to_be_allowed():
    allowed = permit(publish=["a", "b.*"])
    assert allows(allowed, "publish", "a", "b.1", "b.2")
    for channels in (("a", "c"), ("c", "a"), ("a", "b.1", OWN)):
        assert not allows(allowed, "publish", *channels)


def test_who_may_not_is_told_which_claim_is_missing_and_for_which_channel():
    with pytest.raises(NotAllowed, match=r"bide\.publish names no pattern that matches 'b'"):
        permit(publish=["a"]).check("publish", ("a", "b"))
    with pytest.raises(NotAllowed) as caught:
        permit().check("publish", ("x" * 9000,))
    assert len(str(caught.value)) < 300


# -- the subject

#: Subject, pattern, channels that it then matches, and that it does not match.
SUBJECTS = [
    ("ann", "user.{sub}", ["user.ann"], ["user.{sub}", "user.an", "user.ann.x", "user."]),
    ("ann", "user.{sub}.*", ["user.ann.x"], ["user.ann", "user.anna.x", "user..x"]),
    ("ann", "{sub}", ["ann"], ["annx"]),
    ("ann", "{sub}*", ["ann", "anna"], ["an"]),
    ("ann", "{sub}.{sub}", ["ann.ann"], ["ann.bob"]),
    ("ann", "{SUB}", [], ["ann", "{SUB}"]),
    ("ann", "{sub", [], ["ann", "{sub"]),
    ("ann", "{{sub}}", [], ["ann", "{ann}"]),
    ("A-z_0.9:@~", "u.{sub}", ["u.A-z_0.9:@~"], ["u.a-z_0.9:@~"]),
    ("*", "user.{sub}", [], ["user.*", "user.ann", "user."]),
    ("*", "{sub}", [], ["*", "a"]),
    ("a*", "user.{sub}", [], ["user.a*", "user.ab", "user.a"]),
    ("{sub}", "user.{sub}", [], ["user.{sub}", "user.ann"]),
    ("a b", "user.{sub}", [], ["user.a b", "user.a"]),
    ("a,b", "user.{sub}", [], ["user.a,b", "user.a"]),
    ("a/b", "user.{sub}*", [], ["user.a/b", "user.a", "user.a/bc"]),
    ("é", "user.{sub}*", [], ["user.é", "user.", "user.e"]),
    ("\u0661", "user.{sub}", [], ["user.1"]),
    ("auth0|17", "user.{sub}*", [], ["user.auth0|17", "user.auth0"]),
    ("x" * 200, "{sub}*", [], ["x" * 128, "x"]),
    ("x" * 129, "{sub}", [], ["x" * 128]),
    ("x" * 128, "{sub}", ["x" * 128], ["x" * 127]),
    ("x" * 128, "a{sub}", [], ["a" + "x" * 127]),
    ("x" * 128, "{sub}*", [], ["x" * 128]),
    ("..", "{sub}", [], ["..", "."]),
    ("..", "user.{sub}", ["user..."], ["user", "user."]),
    (".", "{sub}{sub}a", ["..a"], [".a"]),
]


@pytest.mark.parametrize(("subject", "pattern", "matched", "others"), SUBJECTS)
def test_the_subject_stands_in_a_pattern_letter_by_letter(subject, pattern, matched, others):
    allowed = permit(subject, subscribe=[pattern])
    assert [channel for channel in [*matched, *others] if allows(allowed, "subscribe", channel)] == matched


def test_a_subject_that_could_be_no_part_of_a_channel_spares_the_other_patterns():
    assert allows(permit("a b", subscribe=["user.{sub}", "news"]), "subscribe", "news")


@law
@given(
    st.text("a.*@é /{}~", min_size=1, max_size=6),
    st.sampled_from(["{sub}", "{sub}*", "a{sub}", "a{sub}.b*", "@{sub}", "@bide{sub}*"]),
)
def test_no_subject_makes_a_pattern_of_what_it_is_not(subject, pattern):
    """Whatever it matches begins as the pattern did, with all of the subject in it, and is none of the server's own."""
    allowed = permit(subject, admin=[pattern])
    begins = pattern.replace("{sub}", subject).removesuffix("*")
    for channel in (begins, begins + "x", "a", "ax", "@bide.", OWN, pattern, "*"):
        if allows(allowed, "admin", channel):
            assert channel.startswith(begins)
            assert not channel.startswith("@bide.")
            assert is_channel(begins) or not begins.strip(".")


# -- the server's own channels


@pytest.mark.parametrize("pattern", [OWN, "@bide.*", "@bide.h*"])
def test_the_servers_own_channels_are_read_by_admins_that_name_them(pattern):
    admin = permit(admin=[pattern])
    for right in RIGHTS:
        assert allows(admin, right, OWN)
        assert not allows(permit(**{right: [pattern]}), "subscribe", OWN) or right == "admin"
    assert not allows(permit(subscribe=[pattern], publish=[pattern], presence=[pattern]), "presence", OWN)


@pytest.mark.parametrize("pattern", ["*", "@*", "@bide*", "@bid*", "@BIDE.*", "@bide"])
def test_a_pattern_that_does_not_begin_as_they_do_never_matches_the_servers_own(pattern):
    everything = permit(**{right: [pattern] for right in RIGHTS})
    assert not any(allows(everything, right, OWN) for right in RIGHTS)


@pytest.mark.parametrize(
    ("subject", "pattern"),
    [
        (OWN, "{sub}"),
        ("@bide.", "{sub}*"),
        ("@bide.h", "{sub}*"),
        ("@bide", "{sub}*"),
        ("@bide", "{sub}.*"),
        ("@bide", "{sub}.health"),
        ("@", "{sub}bide.*"),
        ("bide.", "@{sub}*"),
        (".", "@bide{sub}*"),
        (".health", "@bide{sub}"),
    ],
)
def test_no_subject_makes_a_pattern_of_the_servers_own_channels(subject, pattern):
    claims = {right: [pattern] for right in RIGHTS}
    assert not any(allows(permit(subject, **claims), right, OWN) for right in RIGHTS)


def test_a_pattern_of_them_may_have_the_subject_in_it():
    admin = permit(admin=["@bide.{sub}"])
    assert allows(admin, "admin", "@bide.ann")
    assert not allows(admin, "admin", "@bide.bob")


@pytest.mark.parametrize(("patterns", "all_of_it"), [(["*"], True), (["a*", "*"], True), (["a*"], False), ([], False)])
def test_everything_is_administered_with_a_star_alone(patterns, all_of_it):
    admin = permit("*", admin=[*patterns, "{sub}"], publish=["*"])
    if all_of_it:
        admin.check_all()
    else:
        with pytest.raises(NotAllowed, match=r"bide\.admin"):
            admin.check_all()


@law
@given(
    st.lists(st.text("ab.*@", min_size=1, max_size=3), max_size=3),
    st.text("ab.@", min_size=1, max_size=3).filter(is_channel),
)
def test_a_permit_allows_what_its_patterns_match_and_nothing_else(patterns, channel):
    valid = [pattern for pattern in patterns if "*" not in pattern[:-1] and pattern.strip(".")]
    matched = any(pattern_matches(pattern, channel) for pattern in valid)
    assert allows(permit(subscribe=patterns), "subscribe", channel) == matched


# -- its end


def test_it_is_good_until_it_expires():
    assert permit(expires_at=time.time() - 1).seconds == 0
    assert 500 < permit(expires_at=time.time() + 600).seconds <= 600
    assert permit(expires_at=1e308).seconds > 1e300


class Revoked:
    """Covers a subject, and counts how often it is asked."""

    def __init__(self):
        self.version, self.subject, self.asked = 0, None, 0

    def covers(self, permit):
        self.asked += 1
        return permit.subject == self.subject


def test_it_looks_whether_it_was_revoked_whenever_there_is_more():
    revoked = Revoked()
    allowed = permit(revoked=revoked)
    assert not allowed.is_revoked
    assert not allowed.is_revoked
    assert revoked.asked == 1
    revoked.version, revoked.subject = 1, "ann"
    assert allowed.is_revoked
    assert allowed.is_revoked
    assert revoked.asked == 2


# -- over HTTP


@pytest.fixture(scope="module")
def client():
    with serving(jwt_secret=SECRET) as app:
        yield app.test_client()


def status(client, method, path, body=None, **token):
    answer = client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {minted(**token)}"})
    if answer.status_code >= 400:
        problem(answer)
    return answer.status_code


def test_a_poll_ends_with_its_token(client):
    begun = time.monotonic()
    token = {"exp": int(time.time()) - 3, "bide": {"subscribe": ["a"]}}  # one second of its leeway is left, or two
    assert status(client, "GET", "/subscribe/a?timeout=50", **token) == 200
    assert time.monotonic() - begun < 10


def test_several_channels_are_allowed_together_or_not_at_all(client):
    bide = {"subscribe": ["a", "b"], "publish": ["a", "b"]}
    assert status(client, "GET", "/subscribe/a,b?timeout=0", bide=bide) == 200
    assert status(client, "GET", "/subscribe/a,c?timeout=0", bide=bide) == 403
    assert status(client, "POST", "/subscribe", {"channels": {"a": 0, "c": 0}, "timeout": 0}, bide=bide) == 403
    assert status(client, "POST", "/publish", {"channels": ["a", "c"], "message": 1}, bide=bide) == 403
    assert status(client, "GET", "/channels/a/events", bide=bide) == 200
    assert status(client, "POST", "/publish", {"channels": ["a", "b"], "message": 1}, bide=bide) == 200


@pytest.mark.parametrize("name", ["a%00", "%FF", "..", "a b", "x" * 200, "%2C", ",,,", "*", "%7Bsub%7D", "@bide.x"])
def test_no_name_is_allowed_that_is_none(client, name):
    """Whatever is asked for: 403 where the token does not match it, and 400 where it is no channel at all."""
    few, all_of_it = {"subscribe": ["a"]}, {"subscribe": ["*"], "presence": ["*"]}
    for path in (f"/subscribe/{name}?timeout=0", f"/channels/{name}/events", f"/channels/{name}/subscribers"):
        assert status(client, "GET", path, bide=few) in (403, 404)
        assert status(client, "GET", path, bide=all_of_it) in (400, 403, 404)
