"""The wheel that others install, and an environment that has it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path) -> Path:
    """Built from a clean copy: a build folder left in the checkout would add what setup.cfg forgot."""
    shutil.copytree(ROOT / "app", source / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built_in = source / "dist"
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(built_in), str(source)]
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = built_in.iterdir()
    return built


def install(wheel: Path, venv: Path) -> Path:
    """The Python of a new environment with the wheel, and with what is installed where the tests run."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    assert (site / "bide/__init__.py").exists()
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in folders))
    return python
