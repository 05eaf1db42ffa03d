"""How the processes of jobs are started."""

import subprocess
from pathlib import Path

from rtcloud.tasks.supervisor import JOB_COMMAND


def test_a_job_imports_nothing_from_the_directory_in_which_the_server_was_started(tmp_path: Path) -> None:
    for name in ("argparse", "h2", "av"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the library')")
    subprocess.run([*JOB_COMMAND, "--help"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
