"""Plays a scenario on a gateway: what happens there sets its blocks off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from oms.sim.clock import SteppedClock, Timer
from oms.sim.gateway.gateway import Gateway
from oms.sim.gateway.observers import Event
from oms.sim.script.commands import Commands
from oms.sim.script.scenarios import Block, Scenario, filled_in

log = logging.getLogger("oms.sim.script.player")

#: What nothing but time set off.
NOTHING: Final[Mapping[str, Any]] = {}


class Player:
    """Plays a scenario on a gateway.

    `failures` collects the commands that could not be done: a scenario that asks for what cannot
    be has a mistake in it, and says so at the end.
    """

    def __init__(self, scenario: Scenario, gateway: Gateway) -> None:
        self.scenario = scenario
        self.gateway = gateway
        self.commands = Commands(gateway)
        self.failures: list[str] = []
        self.played: list[int] = []
        self._on_end: Callable[[], None] = lambda: None
        self._trigger_seconds = 0.0
        self._bound: Timer | None = None
        self._timed = 0
        self._armed: list[Block] = []
        self._left: dict[int, int] = {}

    def start(self) -> None:
        """Play the `start` blocks and arm the rest. Call before the gateway's port opens."""
        self.gateway.observers.add(self._observe)
        for number, block in enumerate(self.scenario.blocks):
            if not block.then:
                self._arm(number)

    def end_with(self, on_end: Callable[[], None], trigger_seconds: float = 0.0) -> None:
        """Call `on_end` when every block has happened, or none for so long: that is a failure.

        The time is real, whatever the gateway's clock does; 0 waits for ever.
        """
        self._on_end = on_end
        self._trigger_seconds = trigger_seconds
        if self.waiting:
            self._wait_anew()
        else:
            on_end()

    def _wait_anew(self) -> None:
        if self._bound is not None:
            self._bound.cancel()
        if self._trigger_seconds:
            loop = asyncio.get_running_loop()
            self._bound = loop.call_later(self._trigger_seconds, self._give_up)

    def _give_up(self) -> None:
        # A running clock brings what is timed. One that nobody steps may never.
        if self._timed and not isinstance(self.gateway.wall_clock, SteppedClock):
            self._wait_anew()
            return
        seconds = f"{self._trigger_seconds:g} seconds"
        self.failures += [f"{one}: did not happen within {seconds}" for one in self.waiting]
        self._on_end()

    @property
    def waiting(self) -> list[str]:
        """The triggers that have not happened."""
        played = set(self.played)
        return [
            f"line {block.line}: {block.trigger} {block.subject}".rstrip()
            for block in self.scenario.blocks
            if block.line not in played
        ]

    def _arm(self, number: int, seen: Mapping[str, Any] = NOTHING) -> None:
        block = self.scenario.blocks[number]
        if block.trigger == "start":
            self._play(block, NOTHING)
        elif block.trigger in ("at", "after"):
            self._timed += 1
            self.gateway.clock.call_later(block.seconds, lambda: self._play_timed(block, seen))
        else:
            self._left[block.line] = block.nth
            self._armed.append(block)
            if block.trigger == "when":
                self.gateway.later(self._look_at_orders)

    def _play_timed(self, block: Block, seen: Mapping[str, Any]) -> None:
        self._timed -= 1
        self._play(block, seen)

    def _play(self, block: Block, seen: Mapping[str, Any]) -> None:
        log.info("line %s: %s %s", block.line, block.trigger, block.subject)
        self.played.append(block.line)
        for step in block.steps:
            answer = self.commands.do(filled_in(step.command, seen))
            if not answer["ok"]:
                self.failures.append(f"line {step.line}: {answer['error']} ({answer['hint']})")
                log.warning("line %s: %s", step.line, answer["error"])
        following = self.scenario.blocks.index(block) + 1
        if following < len(self.scenario.blocks) and self.scenario.blocks[following].then:
            self._arm(following, seen)
        self._wait_anew()
        if not self.waiting:
            self._on_end()

    def _observe(self, event: Event) -> None:
        """What the gateway sees. Only `before` acts at once; the rest waits for a quiet moment."""
        if event.kind == "order":
            if any(block.trigger == "when" for block in self._armed):
                self.gateway.later(self._look_at_orders)
            return
        for block in list(self._armed):
            if block.trigger == event.kind and self._fits(block, event) and self._count(block):
                seen = {**event.values, "client_id": event.client_id}
                if block.trigger == "before":
                    self._play(block, seen)
                else:
                    self.gateway.later(partial(self._play, block, seen))

    def _fits(self, block: Block, event: Event) -> bool:
        if block.subject not in ("", event.name):
            return False
        for name, text in block.where.items():
            seen = event.client_id if name == "client_id" else event.values.get(name, "")
            if str(seen) != text:
                return False
        return True

    def _count(self, block: Block) -> bool:
        """One match more; True when it is the one that counts."""
        self._left[block.line] -= 1
        if self._left[block.line] > 0:
            return False
        if not block.each:
            self._armed.remove(block)
        return True

    def _look_at_orders(self) -> None:
        for block in list(self._armed):
            seen = self._order_that_fits(block) if block.trigger == "when" else None
            if seen is not None:
                self._armed.remove(block)
                self._play(block, seen)

    def _order_that_fits(self, block: Block) -> dict[str, Any] | None:
        """The fields of the order that a `when` waits for, once it looks so."""
        accepted = self.gateway.broker.orders.accepted_ids
        number = len(accepted) if block.subject == "last" else int(block.subject)
        if not 0 < number <= len(accepted):
            return None
        order = self.gateway.books.by_perm_id(accepted[number - 1])
        if order is None:
            return None
        shown = order.public("")
        fits = all(str(shown.get(name, "")) == text for name, text in block.where.items())
        return shown if fits else None
