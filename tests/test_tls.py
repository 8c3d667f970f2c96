"""A certificate and a key are judged before they are served: what is wrong, and with which of the two settings."""

import os
import ssl
from importlib import import_module

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app import tls
from app.errors import SettingsError
from tests.support.certificates import certify, make_key, pem, write

KEY = make_key()
OTHER = make_key()
RSA = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
CERTIFICATE = certify(KEY)
BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def check(folder, certificate=CERTIFICATE, key=None):
    paths = write(folder, certificate, pem(KEY) if key is None else key)
    return tls.check(*map(str, paths))


def test_a_certificate_and_its_key_can_be_used(tmp_path):
    assert check(tmp_path) is None
    assert check(tmp_path, CERTIFICATE + certify(OTHER)) is None  # a chain
    assert check(tmp_path, certify(RSA), pem(RSA)) is None
    both = CERTIFICATE + pem(KEY)
    assert check(tmp_path, both, both) is None


BAD = [
    (b"", pem(KEY), "CERT", "no certificate"),
    (b"\xff\xfe", pem(KEY), "CERT", "no certificate"),
    (pem(KEY), pem(KEY), "CERT", "no certificate"),
    (BROKEN, pem(KEY), "CERT", "no certificate"),
    (certify(WEAK), pem(WEAK), "CERT", "KEY_TOO_SMALL"),
    (CERTIFICATE, b"", "KEY", "no private key"),
    (CERTIFICATE, CERTIFICATE, "KEY", "no private key"),
    (CERTIFICATE, pem(KEY)[:100], "KEY", "no private key"),
    (CERTIFICATE, pem(OTHER), "KEY", "not the key of the certificate in BIDE_TLS_CERT"),
    (CERTIFICATE, pem(RSA), "KEY", "not the key of the certificate in BIDE_TLS_CERT"),
    (CERTIFICATE, pem(KEY, b"secret"), "KEY", "encrypted"),
]


# Numbered, since the keys are others in each process.
@pytest.mark.parametrize(("certificate", "key", "variable", "says"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_used_is_told_in_a_line_that_names_the_setting(tmp_path, certificate, key, variable, says):
    with pytest.raises(SettingsError) as caught:
        check(tmp_path, certificate, key)
    said = str(caught.value)
    assert said.startswith(f"BIDE_TLS_{variable}={str(tmp_path / variable.lower())!r}"[:-1])
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize("variable", ["CERT", "KEY"])
@pytest.mark.parametrize(("name", "says"), [("none", "No such file"), (".", "Is a directory"), ("\0", "no path")])
def test_a_file_that_cannot_be_read_is_told(tmp_path, variable, name, says):
    paths = dict(zip(("CERT", "KEY"), write(tmp_path, CERTIFICATE, pem(KEY)), strict=True))
    paths[variable] = f"{tmp_path}/{name}"
    with pytest.raises(SettingsError, match=f"BIDE_TLS_{variable}=.*{says}"):
        tls.check(str(paths["CERT"]), str(paths["KEY"]))


@pytest.mark.parametrize(("begins", "ends", "says"), [(-3, -1, "expired at 20"), (1, 3, "valid from 20")])
def test_a_certificate_of_another_time_can_be_used_and_is_told(tmp_path, begins, ends, says):
    assert says in check(tmp_path, certify(KEY, begins, ends))


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_tls_is_spoken_from_1_2_on_whatever_the_machine_allows(monkeypatch):
    for name in [name for name in os.environ if name.startswith("BIDE_")]:
        monkeypatch.delenv(name)  # gunicorn's settings are made of them
    loose = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    loose.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    loose.options = ssl.OP_ALL
    context = import_module("app.gunicorn_conf").ssl_context(None, lambda: loose)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert context.options & ssl.OP_NO_RENEGOTIATION
