"""Keys, signed checkpoints and proofs from the shell, and by the daemon itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from oms import verify
from oms.core.codec import encode
from oms.core.events import AlarmRaised, CheckpointSigned, DaemonStarted
from oms.evidence.checkpoints import CheckpointFile
from oms.settings import Settings
from tests.shell import Shell
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})


async def test_an_order_is_proven_to_an_outsider(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    """Key, checkpoint, proof; the outsider has the proof, the public key and one file."""
    await world.start()
    mine, other = await world.bought(3), await world.bought(4)
    refused = await shell.oms("checkpoint", expect=2)
    assert "make one with `oms key new`" in refused.err
    public = (await shell.oms("key", "new", "oms.key", "--name", "paper", "--json")).json["public"]
    signing = Shell(tmp_path, {**shell.settings, "OMS_SIGNING_KEY_FILE": "oms.key"})
    assert (await signing.oms("key", "show")).out.strip() == public
    signed = await signing.oms("checkpoint", "--json")
    last = signed.json["checkpoints"][-1]["last"]
    held = (await signing.oms("verify", "--json")).json
    assert (held["ok"], held["signed_to"]) == (True, last)
    proof = tmp_path / "proof.json"
    proof.write_text((await signing.oms("prove", mine.order_id)).out, encoding="utf-8")
    assert other.order_id not in proof.read_text(encoding="utf-8")
    found = verify.check(proof, verify.Options([verify.PublicKey.read(public)]))
    told = await world.oms.reader.order_events(mine.order_id)
    assert (found.events, found.signed_to) == (len(told), last)


async def test_the_log_is_held_against_a_head_that_was_noted(world: World, shell: Shell) -> None:
    await world.start()
    _, head = (await shell.oms("verify")).out.splitlines()[:2]
    _, sequence, digest = head.split()
    await shell.oms("verify", "--expect", f"{sequence}:{digest}")
    said = await shell.oms("verify", "--expect", f"{sequence}:{'0' * 64}", expect=4)
    assert f"event {sequence} has another hash than was noted" in said.err
    said = await shell.oms("verify", "--expect", "12:34", expect=2)
    assert "64 hexadecimal digits" in said.err


async def test_the_daemon_signs_by_itself_and_says_what_was_lost(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    """A command that fails is an alarm; the file has the checkpoint all the same."""
    await shell.oms("key", "new", "oms.key")
    note = tmp_path / "carried.note"
    kept = {"signing_key_file": tmp_path / "oms.key", "checkpoint_events": 1}
    command = f"{shutil.which('tee')} {note}"
    await world.start(**kept, checkpoint_command=command)
    await world.until_logged(CheckpointSigned)
    (first,) = await world.log(CheckpointSigned)
    assert [(one.place, one.ok) for one in first.kept] == [("file", True), ("command", True)]
    assert note.read_text(encoding="utf-8") == first.note
    await world.stop()
    await world.start(**kept, checkpoint_command="false", watch_interval_seconds=1)
    await world.until_logged(AlarmRaised)
    (alarm,) = await world.log(AlarmRaised)
    assert (alarm.kind, "command: exit status 1" in alarm.text) == ("checkpoint_lost", True)
    notes = CheckpointFile(Path(f"{world.database}.checkpoints")).notes()
    assert [str(notes[0]), len(notes) > 1] == [first.note, True]


async def test_each_start_says_what_ran_and_with_which_settings(
    world: World, tmp_path: Path
) -> None:
    """Versions, defaults, what was set and by whom; no password, and no arguments of a command."""
    secret = "pass-word-0123"
    command = f"{shutil.which('true')} --token {secret}"
    await world.start(
        signing_key_file=None, flex_token=secret, web_password=secret, checkpoint_command=command
    )
    (started,) = await world.log(DaemonStarted)
    assert {part.name for part in started.parts} >= {"python", "system", "ib_async"}
    found = {row.name: row for row in started.settings}
    assert set(found) == set(Settings.model_fields)
    assert (found["order_age_seconds_max"].value, found["order_age_seconds_max"].source) == (
        "300",
        "default",
    )
    assert found["web_password"].value == "**********"
    assert found["checkpoint_command"].value.startswith(f"{shutil.which('true')} (sha256 ")
    assert secret not in encode(started)
