"""The life of a signing key: replaced, lost, stolen, forged; and stamps by a real authority."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oms import verify
from oms.cli import main
from oms.clock import SystemClock
from oms.core.events import CheckpointSigned, Context, Pending
from oms.errors import ConfigurationError
from oms.evidence.checkpoints import CheckpointFile
from oms.evidence.keys import Signer, make_key, read_key
from oms.evidence.sealing import Places, seal
from oms.store.backup import back_up
from oms.store.reader import Reader
from tests import second_verifier
from tests.conformance.conftest import Place
from tests.conformance.facts import intent
from tests.conformance.test_event_log import filled


class World:
    """A log, the file of its checkpoints, and who signs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "log.sqlite"
        self.file = CheckpointFile(folder / "log.sqlite.checkpoints")
        self.place = Place(f"sqlite:///{self.database}")
        self._orders = 0

    def key(self, name: str) -> Signer:
        return make_key(self.folder / f"{name}.key", name)

    async def sign(self, signer: Signer, *, url: str = "", command: str = "") -> CheckpointSigned:
        """Let something happen, sign it, and write down that it was signed."""
        self._orders += 1
        await filled(self.place, [intent(f"order-{self._orders}")])
        reader = await Reader.open(self.place.url)
        try:
            places = Places(self.file, command, url)
            (signed,) = [one async for one in seal(reader, signer, places, SystemClock())]
        finally:
            await reader.close()
        await filled(self.place, [Pending(signed, Context("daemon"))])
        return signed

    def verdict(self, *keys: Signer) -> str:
        """Return what both verifiers say, who must agree on whether it holds."""
        said = ""
        try:
            verify.check(self.database, verify.Options([one.public for one in keys]))
        except verify.DamageError as error:
            said = str(error)
        lines = "\n".join(str(one.public) for one in keys)
        assert bool(second_verifier.verdict(self.database, self.file.path, lines)) == bool(said)
        return said


@pytest.fixture
def world(tmp_path: Path, sqlite_template: Path) -> World:
    shutil.copyfile(sqlite_template, tmp_path / "log.sqlite")
    return World(tmp_path)


async def test_a_key_that_was_replaced_signs_no_more(world: World) -> None:
    """Neither by us nor, with the file of the key, by somebody else."""
    old, new = world.key("old"), world.key("new")
    await world.sign(old)
    world.file.append(old.follow_with(new.public, "2026-01-01"))
    with pytest.raises(ConfigurationError, match=r"the key new .* signs .*, and old .* is another"):
        await world.sign(old)
    signed = await world.sign(new)
    assert len(signed.key_notes) == 1
    assert world.verdict(old) == ""
    last = verify.Checkpoint.of(world.file.notes()[-1])
    text = last.note.text.replace(f"first {last.first}", f"first {last.last + 1}")
    text = text.replace(last.previous, last.note.digest).replace(f"last {last.last}", "last 99")
    world.file.append(old.sign(text))
    assert "signed after it was replaced" in world.verdict(old)
    assert "signed after it was replaced" in world.verdict(old, new)


async def test_a_lost_key_is_followed_by_one_that_signs_for_itself(world: World) -> None:
    """Whoever checks needs its public half from us: a thief of the old key cannot make it so."""
    old, new = world.key("old"), world.key("new")
    await world.sign(old)
    with pytest.raises(ConfigurationError, match="is another") as refused:
        await world.sign(new)
    assert "oms key replace FILE --lost" in refused.value.hint
    world.file.append(new.follow_with(new.public, "2026-01-01"))
    await world.sign(new)
    assert world.verdict(old, new) == ""
    assert "a key that was not given" in world.verdict(old)
    world.file.append(old.follow_with(world.key("thief").public, "2026-01-02"))
    assert "signed after it was replaced" in world.verdict(old, new)


async def test_the_log_remembers_notes_about_keys(world: World) -> None:
    """A lost file of checkpoints is made again with them; a command gets them too."""
    old, new = world.key("old"), world.key("new")
    await world.sign(old)
    world.file.append(old.follow_with(new.public, "2026-01-01"))
    kept = world.folder / "kept"
    script = world.folder / "keep.sh"
    script.write_text(f"#!/bin/sh\ncat >> {kept}\n")
    script.chmod(0o700)
    await world.sign(new, command=str(script))
    before = world.file.path.read_text()
    assert kept.read_text() == "".join(str(note) for note in world.file.notes()[1:])
    world.file.path.unlink()
    await world.sign(new)
    assert world.file.path.read_text().startswith(before)
    assert world.verdict(old) == ""


async def test_a_copy_without_its_file_is_held_against_what_the_log_remembers(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup, wherever it lies; of a log whose key was replaced too, and changed anywhere."""
    old, new = world.key("old"), world.key("new")
    for _ in range(2):
        await world.sign(old)
    world.file.append(old.follow_with(new.public, "2026-01-01"))
    await world.sign(new)
    made = back_up(world.place.url, world.folder / "backup.sqlite").path
    key, stranger = world.folder / "old.key.pub", world.key("stranger")

    def said(path: Path, *arguments: object) -> tuple[int, str]:
        status = verify.main([str(one) for one in (path, *arguments)])
        return status, capsys.readouterr().out

    status, text = said(made, "--key", key)
    assert status == 0
    assert "3 signed checkpoints hold, to event 5" in text
    assert "no checkpoint is in backup.sqlite.checkpoints" in text
    assert second_verifier.verdict(made, None, str(old.public)) == ""
    assert said(made, "--key", world.folder / "stranger.key.pub")[0] == 4
    assert second_verifier.verdict(made, None, str(stranger.public)) != ""
    with closing(sqlite3.connect(made)) as copy:
        names = (*verify.HASHED, "hash")
        rows = copy.execute(f"SELECT {', '.join(names)} FROM events ORDER BY sequence").fetchall()
    lines = made.with_name("events.jsonl")
    events = [dict(zip(names, (*row[:-1], row[-1].hex()), strict=True)) for row in rows]
    lines.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert said(lines, "--key", key)[0] == 0
    written, (signed,) = lines.read_text(), [n for n, e in enumerate(events) if n == 1]
    for altered in (
        '{"note":7}',
        '{"note":"x"}',
        "[]",
        '{"key_notes":3}',
        "{",
        '{"note":"\\n\\n— a é"}',
    ):
        events[signed]["payload"] = altered
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))
        assert said(lines, "--key", key)[0] == 4, altered
    lines.write_bytes(written.encode().replace(b"CheckpointSigned", b"CheckpointSigned\xff"))
    assert said(lines, "--key", key)[0] == 4
    # Hashed anew from an event on that a checkpoint covers: the log remembers that one still.
    Place(f"sqlite:///{made}").remove_guards()
    digest = verify.GENESIS
    with closing(sqlite3.connect(made)) as copy:
        for *row, _ in rows:
            row[7] = "person:forger" if row[0] == 3 else row[7]
            digest = verify.event_hash(digest, row)
            copy.execute(
                "UPDATE events SET actor = ?, hash = ? WHERE sequence = ?", (row[7], digest, row[0])
            )
        copy.execute("UPDATE checkpoints SET hash = ?", (digest,))
        copy.commit()
    assert said(made)[0] == 0
    status, text = said(made, "--key", key)
    assert (status, "the events 2 to 3 are not those that were signed" in text) == (4, True)
    assert second_verifier.verdict(made, None, str(old.public)) == "2 to 3 are others"


@pytest.mark.parametrize("full", ["the key", "its public half"])
def test_a_key_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """And the same command makes it once there is room."""
    written = []

    def no_room(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == (1 if full == "the key" else 2):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        with pytest.raises(ConfigurationError, match="No space left on device; no key was made"):
            make_key(tmp_path / "oms.key", "paper")
    assert list(tmp_path.iterdir()) == []
    make_key(tmp_path / "oms.key", "paper")


@pytest.mark.parametrize("what", ["a pipe", "a name", "a folder", "another kind", "a password"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, what: str) -> None:
    """Whatever stands at its place."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

    path = tmp_path / "oms.key"
    text = b"name\n" + Ed448PrivateKey.generate().private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    match what:
        case "a pipe":
            os.mkfifo(path, 0o600)
        case "a folder":
            path.mkdir(mode=0o700)
        case "a name":
            make_key(path, "paper")
            path.write_bytes(b"a b+c\xff" + path.read_bytes())
        case "a password":
            key = make_key(path, "paper").private
            secret = form.BestAvailableEncryption(b"secret")
            pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret)
            path.write_bytes(b"paper\n" + pem)
        case _:
            path.write_bytes(text)
    path.chmod(0o700 if path.is_dir() else 0o600)
    with pytest.raises(ConfigurationError, match="no signing key"):
        read_key(path)


def test_a_key_is_replaced_from_the_shell(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what cannot be done said, and nothing half made; `oms verify` knows a wrong key."""
    monkeypatch.chdir(world.folder)
    monkeypatch.setenv("OMS_DATABASE_URL", world.place.url)
    monkeypatch.setenv("OMS_SIGNING_KEY_FILE", "one.key")

    def oms(*words: str) -> tuple[int, str]:
        status = main(list(words))
        said = capsys.readouterr()
        return status, said.out + said.err

    one = world.key("one")
    asyncio.run(world.sign(one))
    assert oms("key", "replace", "two.key", "--name", "two")[0] == 0
    status, said = oms("verify")
    assert (status, "OMS_SIGNING_KEY_FILE" in said) == (2, True)
    status, said = oms("key", "replace", "three.key", "--name", "three")
    assert (status, "one" in said, Path("three.key").exists()) == (2, True, False)
    monkeypatch.setenv("OMS_SIGNING_KEY_FILE", "two.key")
    two = read_key(Path("two.key"))
    asyncio.run(world.sign(two))
    assert oms("verify")[0] == 0
    assert oms("key", "replace", "three.key", "--name", "three", "--lost")[0] == 0
    monkeypatch.setenv("OMS_SIGNING_KEY_FILE", "three.key")
    three = read_key(Path("three.key"))
    asyncio.run(world.sign(three))
    assert oms("verify")[0] == 0
    assert world.verdict(one, three) == ""
    world.file.path.unlink()
    world.file.path.mkdir()
    status, said = oms("key", "replace", "four.key", "--lost")
    assert (status, Path("four.key").exists()) == (2, False)


# ── time stamps ──────────────────────────────────────────────────────────────────────────────────

CONFIGURATION = """
[tsa]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512
{certs}
[usage]
extendedKeyUsage = critical,timeStamping
"""


def openssl(folder: Path, *arguments: str, taken: bytes = b"") -> bytes:
    ended = subprocess.run(
        ["openssl", *arguments], cwd=folder, input=taken, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


@contextmanager
def authority(folder: Path) -> Iterator[str]:
    """Run a time stamp authority; what its program does is what `openssl ts` does."""
    (folder / "tsa.cnf").write_text(CONFIGURATION.format(certs=""))
    (folder / "serial").write_text("01\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca"
    )
    openssl(folder, "req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=tsa")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem")
    usage = ("-extfile", "tsa.cnf", "-extensions", "usage")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", *signed, *usage)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "asked.tsq").write_bytes(asked)
            certs = "certs = ca.pem" if self.path == "/unordered" else ""
            (folder / "tsa.cnf").write_text(CONFIGURATION.format(certs=certs))
            if self.path == "/replay":
                stamp = (folder / "stamp.tsr").read_bytes()
            else:
                query = ("-queryfile", "asked.tsq", "-out", "stamp.tsr")
                openssl(folder, "ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", *query)
                stamp = (folder / "stamp.tsr").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(stamp if self.path != "/broken" else stamp[:50])

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_checkpoint_is_stamped_and_the_stamp_is_checked_with_openssl(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real authority stamps it; a stamp of something else, a broken one, and none are told."""
    pytest.importorskip("rfc3161_client", reason="the extra ib-oms[timestamp] is not installed")
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl is not here")
    folder = tmp_path / "authority"
    folder.mkdir()
    signer = world.key("paper")
    with authority(folder) as url:
        stamped = await world.sign(signer, url=f"{url}/")
        kept = [(one.place, one.ok, one.text) for one in stamped.kept]
        assert kept == [("file", True, ""), ("timestamp", True, "")]
        for path, words in (("replay", "of something else"), ("broken", "it cannot be read")):
            other = await world.sign(signer, url=f"{url}/{path}")
            assert (other.kept[-1].ok, other.timestamp) == (False, "")
            assert words in other.kept[-1].text
        unordered = await world.sign(signer, url=f"{url}/unordered")
        assert unordered.kept[-1].text.startswith("kept as it came, but it cannot be read")
    away = await world.sign(signer, url=url)
    assert (away.kept[-1].ok, away.kept[0].ok) == (False, True)
    assert world.verdict(signer) == ""
    stamps = tmp_path / "stamps"
    assert verify.main([str(world.file.path), "--stamps", str(stamps)]) == 0
    name, other_name = f"{stamped.last}.note", f"{unordered.last}.note"
    assert capsys.readouterr().out.splitlines()[-2:] == [name, other_name]
    note = json.loads(world.file.path.read_text().splitlines()[0])
    assert (note["note"], note["timestamp"]) == (stamped.note, stamped.timestamp)
    with_ca = ("-CAfile", str(folder / "ca.pem"))
    for last in (unordered.last, stamped.last):
        answer = ("-in", f"{last}.tsr")
        said = openssl(stamps, "ts", "-verify", "-data", f"{last}.note", *answer, *with_ca)
        assert b"OK" in said
    (stamps / name).write_text(stamped.note.replace("at 2", "at 1"))
    with pytest.raises(AssertionError, match="mismatch"):
        openssl(stamps, "ts", "-verify", "-data", name, *answer, *with_ca)
