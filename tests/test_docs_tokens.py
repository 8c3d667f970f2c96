"""The programs of docs/security.md that make tokens, as they stand there: what they give is let in, where it says so.

Each is run by a process of its own, with what its application would have around it and nothing of Bide's.
"""

import re
import shutil
import subprocess
import sys

import jwt
import pytest

from tests.support.app import problem, serving
from tests.support.servers import ROOT, environment

SECRET = "a secret that is thirty-two bytes long"
SECONDS = 60

IMPORTS = "import os, time, uuid, jwt\n"

FLASK = """
from flask import Flask, session
app = Flask("theirs")
app.secret_key = "theirs"
{block}
client = app.test_client()
with client.session_transaction() as kept:
    kept["user"] = "17"
answer = client.post("/bide-token")
assert answer.content_type.startswith("text/plain"), answer.content_type
assert client.get("/bide-token").status_code == 405
print(answer.text)
"""

DJANGO = """
import django
from django.conf import settings
urlpatterns = []
settings.configure(
    SECRET_KEY="theirs",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    LOGIN_URL="/login",
    ROOT_URLCONF="__main__",
)
django.setup()
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import RequestFactory
from django.views.decorators.http import require_POST
{block}
request = RequestFactory().post("/bide-token")
request.user = AnonymousUser()
assert bide_token(request).status_code == 302
request.user = User(pk=17)
answer = bide_token(request)
assert answer["Content-Type"] == "text/plain"
print(answer.content.decode())
"""

NODE = '{block}\nconsole.log(bideToken("17"));\n'


def block(heading):
    """The program below a heading."""
    text = (ROOT / "docs/security.md").read_text()
    found = re.search(rf"^### {heading}\n\n```\w+\n(.*?)^```$", text, re.M | re.S)
    assert found, heading
    return found[1]


def printed(*command):
    env = environment(BIDE_JWT_SECRET=SECRET)
    result = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("heading", ["Flask", "Django", "Node"])
def test_what_they_make_lets_its_owner_read_what_is_his(heading):
    around = {"Flask": IMPORTS + FLASK, "Django": IMPORTS + DJANGO, "Node": NODE}[heading]
    program = around.replace("{block}", block(heading))
    if heading == "Node":
        node = shutil.which("node")
        if node is None:
            pytest.skip("there is no node")
        token = printed(node, "-e", program)
    else:
        token = printed(sys.executable, "-c", program)
    claims = jwt.decode(token, SECRET, ["HS256"])
    assert (claims["sub"], claims["exp"] - claims["iat"], len(claims["jti"]) >= 32) == ("17", 900, True)
    with serving(jwt_secret=SECRET) as app:
        client = app.test_client()

        def asked(path):
            return client.get(path, headers={"Authorization": f"Bearer {token}"})

        assert asked("/subscribe/news,user.17?timeout=0").status_code == 200
        assert asked("/channels/user.17/events").status_code == 200
        for path in ("/subscribe/user.18?timeout=0", "/channels/news/subscribers"):
            assert problem(asked(path))["type"] == "/problems/not-allowed"
        refused = client.post("/publish/news", json={"message": 1}, headers={"Authorization": f"Bearer {token}"})
        assert problem(refused)["type"] == "/problems/not-allowed"


@pytest.mark.parametrize("heading", ["Flask", "Django", "Node"])
def test_they_are_short_enough_to_be_typed(heading):
    """The function; what it needs stands beside it."""
    body = re.split(r"^(?:def|function) .*\n", block(heading), flags=re.M)[-1]
    assert 3 <= len([line for line in body.splitlines() if line.strip(" }")]) <= 5
