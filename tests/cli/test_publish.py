"""`bide publish`: one message, lines of standard input, and what is said where it goes wrong."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from app.cli.lines import groups, message_of
from tests.cli.conftest import Run, Start
from tests.support.servers import Server


def messages(server: Server, channel: str) -> list[object]:
    return [event["message"] for event in server.events(channel)]


def test_a_message_is_published_and_its_id_printed(server: Server, run: Run) -> None:
    text = run("publish", "one", "hello, world", "--type", "greeting")
    number = run("publish", "one", '{"a": [1.5, "é"]}', "--json")
    assert (text.returncode, number.returncode) == (0, 0), text.stderr + number.stderr
    first, second = server.events("one")
    assert (first["message"], first["type"], second["message"]) == ("hello, world", "greeting", {"a": [1.5, "é"]})
    assert [text.stdout, number.stdout] == [f"{first['id']}\n", f"{second['id']}\n"]


@pytest.mark.parametrize("words", [(), ("-",), ("--batch", "7")], ids=["a pipe", "a dash", "batches"])
def test_each_line_of_standard_input_is_an_event(
    server: Server, run: Run, words: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    channel = f"lines-{len(words)}"
    wanted = [f"line {number}" for number in range(250)]
    result = run("publish", channel, *words, input="\n".join(wanted))
    assert result.returncode == 0, result.stderr
    assert messages(server, channel) == wanted
    assert result.stdout.split() == [str(event["id"]) for event in server.events(channel)]


def test_a_line_is_published_when_it_comes_not_when_others_have_come(server: Server, start: Start) -> None:
    process = start("publish", "live")
    for number in range(3):
        process.stdin.write(f"line {number}\r\n")
        assert int(process.stdout.readline()) == server.events("live")[-1]["id"]
    process.stdin.close()
    assert process.wait(60) == 0
    assert messages(server, "live") == ["line 0", "line 1", "line 2"]


def test_nothing_is_published_from_the_first_line_on_that_is_none(server: Server, run: Run) -> None:
    result = run("publish", "empty", input="a\nb\n\nc\n")
    assert (result.returncode, messages(server, "empty")) == (1, ["a", "b"])
    assert result.stderr == "bide: line 3 is empty; lines 1 to 2 were published\n"
    assert len(result.stdout.split()) == 2


def test_a_batch_is_published_whole_or_not_at_all(server: Server, run: Run) -> None:
    result = run("publish", "whole", "--json", "--batch", "2", input='1\n2\n3\n{"a"}\n5\n6\n')
    assert (result.returncode, messages(server, "whole")) == (1, [1, 2])
    assert result.stderr.startswith("bide: line 4 is no JSON: ")
    assert result.stderr.endswith("; lines 1 to 2 were published\n")
    assert result.stderr.count("\n") == 1


def test_the_line_that_the_server_refuses_is_found_among_those_that_were_sent_with_it(server: Server, run: Run) -> None:
    result = run("publish", "refused", input=f"a\nb\n{'c' * 70_000}\nd\n")
    assert (result.returncode, messages(server, "refused")) == (1, ["a", "b"])
    assert result.stderr.startswith("bide: line 3 was not published: ")
    assert "413" in result.stderr
    assert result.stderr.endswith("; lines 1 to 2 were published\n")


def test_a_server_that_keeps_less_than_goes_together_gets_every_line(run: Run, tmp_path: Path) -> None:
    with Server(tmp_path / "small", env={"BIDE_RETENTION_EVENTS": "20"}) as small:
        result = run("publish", "small", "--url", small.url, input="".join(f"{number}\n" for number in range(60)))
        assert (result.returncode, len(result.stdout.split())) == (0, 60), result.stderr
        assert messages(small, "small") == [str(number) for number in range(40, 60)]


def test_lines_are_published_once_though_the_server_is_started_anew_amid_them(
    start: Start, run: Run, env: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    env["BIDE_URL"] = f"http://127.0.0.1:{port}"
    first = start("serve", "--port", port)
    process = start("publish", "once")
    process.stdin.write("a\n")
    process.stdout.readline()
    first.terminate()
    assert first.wait(60) == 0
    process.stdin.write("b\n")
    # More than once, where the first was not there yet either.
    while "Connection refused; trying again" not in process.stderr.readline():
        pass
    start("serve", "--port", port)
    process.stdin.write("c\n")
    process.stdin.close()
    assert process.wait(60) == 0, process.stderr.read()
    assert run("history", "once").stdout == "a\nb\nc\n"


def test_interrupted_it_says_what_was_published_and_shows_no_trace(server: Server, start: Start) -> None:
    process = start("publish", "interrupted")
    process.stdin.write("a\n")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.split("\n")[0] == "bide: interrupted: line 1 was published"
    assert "Traceback" not in told


def test_a_reader_of_ids_that_leaves_ends_it(server: Server, start: Start) -> None:
    process = start("publish", "left")
    process.stdout.close()
    process.stdin.write("a\n")
    assert process.stderr.readline() == "bide: nobody reads the ids any more; line 1 was published\n"
    assert process.wait(60) == 1


def test_a_server_that_cannot_be_reached_is_told_at_once_and_waited_for_as_long_as_asked(start: Start) -> None:
    process = start("publish", "news", "a", "--url", "http://127.0.0.1:9", "--patience", "1")
    assert "does not answer: Connection refused; trying again for up to 1 s" in process.stderr.readline()
    assert process.poll() is None
    assert process.stderr.readline() == "bide: http://127.0.0.1:9 does not answer: Connection refused\n"
    assert process.wait(60) == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"", "is empty"),
        (b"\r", "is empty"),
        (b"\xff", "is not UTF-8"),
        (b"{", "is no JSON: Expecting property name"),
        (b"null", "is no message"),
        (b'""', "is no message"),
        (b"[NaN]", "there is no NaN"),
        (b'{"a": 1, "a": 2}', "has a name twice"),
        (b"[" * 100_000, "nested too deep"),
        (b"1e999", "the number 1e999 is too large"),
        (b'["\\ud83d"]', "half a surrogate pair"),
        (b"1" * 5000, "an integer of 5000 digits"),
    ],
)
def test_what_is_no_message_is_told(line: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        message_of(line, is_json=True)


def test_lines_before_one_that_python_could_not_send_are_published(server: Server, run: Run) -> None:
    result = run("publish", "unsendable", "--json", input='1\n"\\ud83d"\n3\n')
    assert (result.returncode, messages(server, "unsendable")) == (1, [1])
    assert result.stderr.startswith("bide: line 2 is no JSON that a server takes: ")
    assert result.stderr.endswith("; line 1 was published\n")


@pytest.mark.parametrize("is_exact", [True, False])
def test_lines_are_cut_at_their_ends_wherever_the_pieces_are(tmp_path: Path, is_exact: bool) -> None:
    wanted = [b"x" * (number * 1000) for number in range(200)] + [b"the last has no end"]
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(wanted))
    with path.open("rb") as file:
        found = list(groups(file.fileno(), 10, is_exact=is_exact))
    assert [line for group in found for line in group] == wanted
    assert max(map(len, found)) <= 10
    if is_exact:
        assert {len(group) for group in found[:-1]} == {10}
