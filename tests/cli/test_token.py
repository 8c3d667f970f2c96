"""`bide token`: what it prints is let in, for what it says and no longer; and the other commands come by it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.cli.group import bide
from tests.cli.conftest import Run
from tests.cli.test_command import loaded
from tests.support.app import problem, serving
from tests.support.servers import Server

SECRET = "a secret that is thirty-two bytes long"
KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


class Called(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


def called(*words: str, **env: str | None) -> Called:
    """The command in this process; a variable that is None is not set."""
    given = {name: text for name, text in {"BIDE_JWT_SECRET": SECRET, **env}.items() if text is not None}
    with (
        tempfile.TemporaryFile("w+") as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()) as err,
        mock.patch.dict(os.environ, given, clear=True),
    ):
        with pytest.raises(SystemExit) as ended:
            bide.main(["token", *words], "bide")
        out.seek(0)
        return Called(int(ended.value.code or 0), out.read(), err.getvalue())


def minted(*words: str, **env: str | None) -> str:
    """The token alone: nothing else is printed."""
    result = called(*words, **env)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", result.stdout)
    return result.stdout.strip()


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def pem(key: Any, **encryption: str) -> bytes:
    how = BestAvailableEncryption(b"passphrase") if encryption else NoEncryption()
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return found


def public(key: Any) -> str:
    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found.decode()


def asked(client: Any, token: str, method: str, path: str) -> Any:
    body = {"message": 1} if method == "POST" else None
    return client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {token}"})


def test_what_it_prints_is_let_in_for_what_it_says_and_for_nothing_else() -> None:
    token = minted("ann", "--publish", "chat", "--publish", "jobs.*", "--subscribe", "user.{sub}", "--admin", "old")
    with serving(jwt_secret=SECRET) as app:
        client = app.test_client()
        allowed = [
            ("POST", "/publish/chat"),
            ("POST", "/publish/jobs.1"),
            ("GET", "/subscribe/user.ann?timeout=0"),
            ("DELETE", "/channels/old"),
        ]
        refused = [
            ("POST", "/publish/user.ann"),
            ("GET", "/subscribe/user.eve?timeout=0"),
            ("GET", "/channels/chat/subscribers"),
            ("DELETE", "/channels/chat"),
        ]
        for method, path in allowed:
            assert asked(client, token, method, path).status_code in (200, 204), path
        for method, path in refused:
            assert problem(asked(client, token, method, path))["type"] == "/problems/not-allowed", path
        present = minted("ann", "--presence", "chat")
        assert asked(client, present, "GET", "/channels/chat/subscribers").status_code == 200


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_private_key_signs_in_the_way_of_its_kind(algorithm: str, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(KEYS[algorithm]))
    token = minted("ann", "--publish", "chat", "--key", str(file), "--kid", "of-may", BIDE_JWT_SECRET=None)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "of-may", "typ": "JWT"}
    with serving(jwt_public_key=public(KEYS[algorithm])) as app:
        assert asked(app.test_client(), token, "POST", "/publish/chat").status_code == 200
    with serving(jwt_secret=SECRET) as app:
        assert asked(app.test_client(), token, "POST", "/publish/chat").status_code == 401


@pytest.mark.parametrize("words", [("--audience", "chat", "--issuer", "shop"), ()], ids=["options", "variables"])
def test_audience_and_issuer_are_those_of_the_options_or_the_server_s_own_variables(words: tuple[str, ...]) -> None:
    env = {} if words else {"BIDE_JWT_AUDIENCE": "chat", "BIDE_JWT_ISSUER": "shop"}
    with serving(jwt_secret=SECRET, jwt_audience="chat", jwt_issuer="shop") as app:
        client = app.test_client()
        assert (
            asked(client, minted("ann", "--publish", "chat", *words, **env), "POST", "/publish/chat").status_code == 200
        )
        assert asked(client, minted("ann", "--publish", "chat"), "POST", "/publish/chat").status_code == 401


@pytest.mark.parametrize(("words", "seconds"), [((), 3600), (("--for", "90s"), 90), (("--for", "7d"), 604800)])
def test_it_ends_after_its_time_and_says_when_it_began(words: tuple[str, ...], seconds: int) -> None:
    found = claims(minted("ann", "--publish", "chat", *words))
    assert found["exp"] - found["iat"] == seconds


def test_each_has_a_name_by_which_it_can_be_revoked() -> None:
    first, second = (claims(minted("ann", "--publish", "chat"))["jti"] for _ in range(2))
    assert len(first) == 32
    assert first != second
    assert claims(minted("ann", "--publish", "chat", "--jti", "order-17"))["jti"] == "order-17"


def test_rates_are_a_claim() -> None:
    found = claims(minted("ann", "--publish", "chat", "--rate-publish", "10/second", "--rate-subscribe", "5/minute"))
    assert found["bide"] == {"publish": ["chat"], "rate": {"publish": "10/second", "subscribe": "5/minute"}}
    assert "rate" not in claims(minted("ann", "--publish", "chat"))["bide"]


def test_the_secret_is_what_the_server_reads_spaces_around_it_cut() -> None:
    with serving(jwt_secret=SECRET) as app:
        token = minted("ann", "--publish", "chat", BIDE_JWT_SECRET=f" {SECRET}\n")
        assert asked(app.test_client(), token, "POST", "/publish/chat").status_code == 200


CHAT = ["--publish", "chat"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Missing argument 'SUBJECT'"),
        (["ann"], "It would allow nothing: give --publish"),
        (["", *CHAT], "1 to 255 printable"),
        (["a\nb", *CHAT], "1 to 255 printable"),
        (["x" * 256, *CHAT], "1 to 255 printable"),
        (["ann", "--publish", "a*b"], "--publish 'a*b' is no pattern"),
        (["ann", "--subscribe", ""], "--subscribe '' is no pattern"),
        (["ann", "--admin", "{me}.x"], "--admin '{me}.x' is no pattern"),
        (["ann smith", "--publish", "user.{sub}"], "matches nothing: 'ann smith' cannot be a part"),
        (["a*", "--publish", "{sub}"], "matches nothing"),
        (["@bide.x", "--publish", "{sub}"], "matches nothing"),
        (["ann", "--subscribe", "@bide.*"], "'@bide.*' allows nothing: who reads @bide. channels needs --admin"),
        (["ann", *CHAT, "--for", "0h"], "'0h' is no such time: give one such as"),
        (["ann", *CHAT, "--for", "soon"], "'soon' is no such time"),
        (["ann", *CHAT, "--for", "3651d"], "'3651d' is no such time"),
        (["ann", *CHAT, "--rate-publish", "fast"], "'fast' cannot be used: give a rate such as 100/second"),
        (["ann", *CHAT, "--key", "no-such-file"], "--key 'no-such-file' cannot be read: No such file"),
        (["ann", *CHAT, "--secret", "geheim"], "No such option"),
    ],
)
def test_what_cannot_be_signed_is_one_sentence_and_the_exit_code_2(words: list[str], sentence: str) -> None:
    result = called(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"bide: .+; see bide token --help\n", result.stderr), result.stderr
    assert sentence in result.stderr
    assert SECRET not in result.stderr


@pytest.mark.parametrize(
    "secret", [None, "", " ", "geheim", public(KEYS["ES256"])], ids=["none", "empty", "a space", "short", "a key"]
)
def test_without_a_secret_or_with_one_that_can_be_guessed_nothing_is_signed(secret: str | None) -> None:
    result = called("ann", *CHAT, BIDE_JWT_SECRET=secret)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "BIDE_JWT_SECRET" in result.stderr
    assert "geheim" not in result.stderr
    assert "BEGIN" not in result.stderr


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"nothing", "cannot be used: give a private key in PEM"),
        (public(KEYS["ES256"]).encode(), "cannot be used: give a private key in PEM"),
        (pem(rsa.generate_private_key(65537, 1024)), "cannot be used: give a private key in PEM"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "cannot be used: give a private key in PEM"),
        (pem(KEYS["ES256"], with_passphrase="yes"), "asks for a passphrase"),
    ],
    ids=["no key", "a public key", "a weak key", "another curve", "a passphrase"],
)
def test_a_key_that_cannot_be_used_is_one_sentence(data: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(data)
    result = called("ann", *CHAT, "--key", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_secret_is_not_shown_by_its_help() -> None:
    result = called("--help", BIDE_JWT_SECRET="geheim" * 10)
    assert result.exit_code == 0
    assert "BIDE_JWT_SECRET" in result.stdout
    assert "geheim" not in result.stdout


def test_it_loads_nothing_of_the_server() -> None:
    assert "jwt" in (found := loaded("token", "ann", *CHAT))
    assert not found & {"gevent", "flask", "gunicorn", "msgspec", "sqlite3"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets nobody in without a token."""
    with Server(tmp_path_factory.mktemp("keyed"), env={"BIDE_JWT_SECRET": SECRET}) as server:
        yield server


def test_the_commands_give_their_token(keyed: Server, run: Run, env: dict[str, str]) -> None:
    env = env | {"BIDE_URL": keyed.url, "BIDE_JWT_SECRET": SECRET}
    token = run("token", "me", "--publish", "*", "--subscribe", "*", "--admin", "*", env=env)
    assert token.returncode == 0, token.stderr
    env["BIDE_TOKEN"] = token.stdout
    assert run("publish", "chat", "hello", env=env).returncode == 0
    del env["BIDE_TOKEN"]
    option = ("--token", token.stdout.strip())
    assert run("subscribe", "chat", "--count", "1", *option, env=env).stdout == "hello\n"
    assert run("history", "chat", *option, env=env).stdout == "hello\n"
    assert run("channels", *option, env=env).stdout.startswith("chat\t")
    checked = run("check", keyed.url, *option, env=env)
    assert checked.returncode == 0, checked.stdout
    assert "clean-up" not in checked.stdout


def test_a_refusal_says_why_and_not_what_the_token_is(keyed: Server, run: Run, env: dict[str, str]) -> None:
    env = env | {"BIDE_URL": keyed.url}
    of_others = minted("me", "--publish", "chat")
    tokens = {"no pattern that matches": of_others, "signature does not fit": of_others[:-8] + "AAAAAAAA"}
    for sentence, token in tokens.items():
        result = run("publish", "news", "hello", env=env | {"BIDE_TOKEN": token})
        assert result.returncode == 1
        assert re.fullmatch(rf"bide: .*{sentence}.*\n", result.stderr), result.stderr
        assert not any(part in result.stderr for part in token.split("."))
    without = run("subscribe", "news", env=env)
    assert (without.returncode, without.stdout) == (1, "")
    assert re.fullmatch(r"bide: .* says 401: Give a token: .* \(in BIDE_TOKEN, or as --token\)\n", without.stderr)
    told = run("check", keyed.url, env=env | {"BIDE_TOKEN": of_others})
    assert told.returncode == 1
    assert not any(part in told.stdout + told.stderr for part in of_others.split("."))
    assert not any(part in keyed.output() for token in tokens.values() for part in token.split(".")[1:])
