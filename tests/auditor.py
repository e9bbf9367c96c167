"""What an auditor has: one file, `cryptography`, and a Python that finds nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cryptography

from oms import verify

_CODE = (
    "import sys, runpy; sys.path[:0] = [sys.argv.pop(1)]; "
    "runpy.run_path('verify.py', run_name='__main__')"
)


class Auditor:
    """Runs the verifier in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packages = folder / "packages"
        self._packages.mkdir(parents=True)
        shutil.copyfile(str(verify.__file__), folder / "verify.py")
        installed = Path(cryptography.__file__).parent
        for name in (installed.name, "cffi", "_cffi_backend", "pycparser"):
            for path in installed.parent.glob(f"{name}*"):
                (self._packages / path.name).symlink_to(path)

    def checks(self, *arguments: str | Path) -> tuple[int, str]:
        """Return how the verifier ends, and what it says."""
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CODE, self._packages, *arguments],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ended.returncode, ended.stdout + ended.stderr
