"""Where a subscription begins, and the file that keeps how far it has come."""

import json

import pytest

from app.client import ClientError
from app.client.places import Places


def places(*channels, since="oldest", file=None):
    return Places(channels, since, file)


@pytest.mark.parametrize(
    ("since", "cursor"),
    [
        ("oldest", "0,0"),
        ("latest", "latest,latest"),
        (7, "7,7"),
        ({"b": 7}, "0,7"),
        ({"a": "latest", "b": 0}, "latest,0"),
    ],
)
def test_it_begins_where_it_is_told_to(since, cursor):
    assert places("a", "b", since=since).cursor == cursor


@pytest.mark.parametrize("since", ["newest", -1, 1.5, None, {"a": "first"}])
def test_a_place_that_there_cannot_be_is_refused(since):
    with pytest.raises(ValueError, match="give 'oldest', 'latest' or an event's id"):
        places("a", since=since)


@pytest.mark.parametrize("channels", [(), ("a", "a"), ("a,b",), ("",), ("a/b",), ("ä",), ("x" * 129,)])
def test_channels_that_there_cannot_be_are_refused(channels):
    with pytest.raises(ValueError, match="channel"):
        places(*channels)


class TestFile:
    def test_what_was_processed_is_there_when_it_is_opened_again(self, tmp_path):
        file = tmp_path / "cursors"
        places("a", "b", file=file).move({"a": 5, "b": 6})
        assert places("b", "a", file=file).of == {"b": 6, "a": 5}

    def test_a_channel_that_it_has_not_begins_where_it_is_told_to(self, tmp_path):
        file = tmp_path / "cursors"
        places("a", file=file).move({"a": 5})
        assert places("a", "new", since="latest", file=file).of == {"a": 5, "new": "latest"}

    def test_one_that_is_not_followed_now_is_kept(self, tmp_path):
        file = tmp_path / "cursors"
        places("a", "b", file=file).move({"a": 5, "b": 6})
        places("a", file=file).move({"a": 7})
        assert json.loads(file.read_text()) == {"a": 7, "b": 6}

    def test_latest_is_no_place_to_keep(self, tmp_path):
        file = tmp_path / "cursors"
        places("a", since="latest", file=file)
        assert json.loads(file.read_text()) == {}

    def test_nothing_stays_beside_it(self, tmp_path):
        kept = places("a", file=tmp_path / "cursors")
        for id in range(1, 20):
            kept.move({"a": id})
        assert [path.name for path in tmp_path.iterdir()] == ["cursors"]

    def test_it_is_written_only_when_something_has_changed(self, tmp_path):
        file = tmp_path / "cursors"
        kept = places("a", file=file)
        kept.move({"a": 5})
        before = file.stat().st_ino
        kept.move({"a": 5})
        assert file.stat().st_ino == before

    def test_whoever_dies_while_it_is_written_leaves_the_old_one(self, tmp_path, monkeypatch):
        file = tmp_path / "cursors"
        kept = places("a", file=file)
        kept.move({"a": 5})

        def die(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("app.client.places.os.fsync", die)
        with pytest.raises(KeyboardInterrupt):
            kept.move({"a": 6})
        monkeypatch.undo()
        assert places("a", file=file).of == {"a": 5}

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "x"}', '{"a": -1}', '{"a": true}', '{"a": 1.5}', "ä"])
    def test_one_that_is_none_is_told_of_and_left_alone(self, tmp_path, text):
        file = tmp_path / "cursors"
        file.write_text(text)
        with pytest.raises(ClientError, match="cursors"):
            places("a", file=file)
        assert file.read_text() == text

    def test_a_place_that_cannot_be_written_to_is_told_of_before_there_is_something_to_lose(self, tmp_path):
        with pytest.raises(ClientError, match=r"cannot be kept in .*No such file or directory"):
            places("a", file=tmp_path / "nowhere" / "cursors")
