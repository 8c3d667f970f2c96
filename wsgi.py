"""What gunicorn serves: `gunicorn -k gevent wsgi:app`."""

from pathlib import Path

from app import create_app

# Beside this file, wherever the server is started from, unless BIDE_DATA_DIR says otherwise.
app = create_app(defaults={"data_dir": Path(__file__).resolve().parent / "data"})
