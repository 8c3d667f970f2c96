"""gunicorn's settings for a checkout, `gunicorn -c gunicorn.conf.py wsgi:app`: those of app/gunicorn_conf.py."""

from app.gunicorn_conf import *  # noqa: F403
