"""Rules about imports that the import linter cannot see, for it knows Python modules only."""

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent / "src"
MAY_IMPORT_THE_ENGINE = {"rtcloud/media/native.py", "rtcloud/client/native.py"}


def imports_the_engine(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import) and any(name.name == "rtcloud._native" for name in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and (
            node.module == "rtcloud._native"
            or (node.module == "rtcloud" and any(name.name == "_native" for name in node.names))
        ):
            return True
    return False


def test_only_two_modules_import_the_engine() -> None:
    found = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if imports_the_engine(path)}
    assert found <= MAY_IMPORT_THE_ENGINE


def test_the_command_starts_without_the_engine() -> None:
    """``rtcloud --version`` and the pure parts work before anything was compiled."""
    program = "import sys; sys.modules['rtcloud._native'] = None; from rtcloud import cli; cli.main(['--version'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SOURCE, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rtcloud ")


def test_a_server_starts_without_the_codecs() -> None:
    """They are the jobs': a third of the time of a start, and of its memory."""
    program = (
        "import sys, rtcloud.serve, rtcloud.front, rtcloud.worker; sys.exit(bool({'av', 'numpy'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SOURCE, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_job_starts_without_what_other_commands_need() -> None:
    """There is one for each recording, and it is to begin at once."""
    program = (
        "import sys; from rtcloud import cli;"
        "cli._job = lambda _: bool({'sqlalchemy', 'cryptography'} & {*sys.modules});"
        "sys.exit(cli.main(['job', '--ready']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SOURCE, timeout=30)
    assert done.returncode == 0, done.stderr
