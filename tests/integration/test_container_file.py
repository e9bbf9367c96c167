"""The commands of the container file do what they say, where there is nothing but Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import free_ports
from tests.conftest import ROOT

FILE = (ROOT / ".ci" / "simulator.Containerfile").read_text(encoding="utf-8")
LINES = dict(re.findall(r"^(HEALTHCHECK|ENTRYPOINT) .*?(\[.*\])$", FILE, re.MULTILINE))


def test_the_container_file_copies_what_the_package_is_made_of() -> None:
    copied = re.findall(r"^COPY (.+) (/src\S*)$", FILE, re.MULTILINE)
    names = [name for words, _ in copied for name in words.split()]
    assert all((ROOT / name).exists() for name in names)
    assert {"pyproject.toml", "README.md", "LICENSE", "oms", "migrations"} == set(names)


@pytest.mark.long
def test_the_commands_of_the_container_file_serve_a_gateway(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    kept = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    path = f"{tmp_path / 'env' / 'bin'}:/usr/bin:/bin"
    environment = {**kept, "PATH": path, "HOME": str(tmp_path)}

    def there(text: str) -> str:
        """The path in this folder that stands for one of the container's."""
        return re.sub(r"/(src|books)\b", rf"{tmp_path}/\1", text)

    for words, target in re.findall(r"^COPY (.+) (/src\S*)$", FILE, re.MULTILINE):
        for name in words.split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, there(target))
            else:
                Path(there(target)).mkdir(exist_ok=True)
                shutil.copy(ROOT / name, there(target))
    for command in re.findall(r"^RUN (.+)$", FILE, re.MULTILINE):
        subprocess.run(["sh", "-ec", there(command)], check=True, env=environment, cwd=tmp_path)
    port, control = free_ports(2)
    ports = ["--port", port, "--control-port", control]
    serve = [there(word) for word in json.loads(LINES["ENTRYPOINT"])]
    with subprocess.Popen(
        [*serve, *ports], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as gateway:
        try:
            assert gateway.stdout is not None
            assert json.loads(gateway.stdout.readline())["port"] == int(port)
            look = [*json.loads(LINES["HEALTHCHECK"]), "--control-port", control]
            told = subprocess.run(look, env=environment, check=True, capture_output=True)
            assert json.loads(told.stdout)["ok"]
        finally:
            gateway.terminate()
    assert (tmp_path / "books" / "gateway.sqlite").exists()
