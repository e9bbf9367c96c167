"""What a gateway said is written down, and said again to a client with other ids."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from oms.sim.clock import RealClock
from oms.sim.script.recorder import Recorder
from oms.sim.script.replay import Replay
from oms.sim.script.transcripts import TranscriptError, TranscriptLine, read, told
from tests.integration.sim_world import WireClient, world


async def test_a_recorded_session_plays_back_the_same_story(tmp_path: Path) -> None:
    async with world() as sim:
        file = tmp_path / "session.jsonl"
        out = io.StringIO()
        recorder = Recorder(("127.0.0.1", sim.port), out, RealClock(), {"DU1234567": "DU0000000"})
        port = await recorder.start("127.0.0.1", 0)
        first = await WireClient.start(port, 1)
        first.place(orderRef="a")
        await first.wait_for("commissionReport")
        first.ask("reqExecutions", reqId="77")
        await first.wait_for("execDetailsEnd", reqId="77")
        await first.stop()
        await recorder.stop()
        file.write_text(out.getvalue(), encoding="utf-8")

    lines = read(file)
    assert lines[0].handshake == "v157..178"
    assert "DU1234567" not in out.getvalue()
    assert [name for name, _ in told(lines)] == [name for name, _ in first.received]

    player = Replay(lines)
    port = await player.start("127.0.0.1", 0)
    second = await WireClient.start(port, 9)
    second.place(orderId="500", orderRef="b")
    await second.wait_for("openOrder", orderId="500")
    second.ask("reqExecutions", reqId="88")
    await second.wait_for("execDetailsEnd", reqId="88")
    assert [name for name, _ in second.received] == [name for name, _ in first.received]
    assert second.last("managedAccts")["accounts"] == "DU0000000"
    await second.stop()
    await player.stop()


async def test_connections_are_kept_apart_and_played_in_their_order(tmp_path: Path) -> None:
    out, stories = io.StringIO(), []
    async with world() as sim:
        recorder = Recorder(("127.0.0.1", sim.port), out, RealClock(), {}, connections=4)
        port = await recorder.start("127.0.0.1", 0)
        one, two = await WireClient.start(port, 1), await WireClient.start(port, 2, "v100..225")
        one.ask("reqUserInfo", reqId="1")
        await one.wait_for("userInfo", reqId="1")
        two.ask("reqCurrentTime")
        await two.wait_for("currentTime")
        for client in (one, two):
            await client.stop()
            stories.append(client.story())
        await recorder.stop()
    file = tmp_path / "two.jsonl"
    file.write_text(out.getvalue(), encoding="utf-8")
    lines = read(file)
    assert {line.connection for line in lines} == {5, 6}
    assert [line.handshake for line in lines if line.handshake] == ["v157..178", "v100..178"]
    player = Replay(lines)
    port = await player.start("127.0.0.1", 0)
    one, two = await WireClient.start(port, 1), await WireClient.start(port, 2)
    one.ask("reqUserInfo", reqId="9")
    two.ask("reqCurrentTime")
    await one.wait_for("userInfo", reqId="9")
    await two.until(lambda: two.story() == stories[1])
    for client in (one, two):
        await client.stop()
    await player.stop()


def test_a_file_that_is_no_transcript_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.jsonl"
    for text in ("{", "{}", '{"at": 0, "from": "nobody"}', "[]"):
        file.write_text(f"\n{text}\n", encoding="utf-8")
        with pytest.raises(TranscriptError, match="line 2"):
            read(file)


def test_a_line_reads_back_as_it_was_written() -> None:
    for line in (
        TranscriptLine(0.5, "gateway", ("9", "1", "7")),
        TranscriptLine(0.0, "client", handshake="v1..2"),
    ):
        assert TranscriptLine.from_json(line.to_json()) == line
