"""Runs in async code wait for the disk, and the event loop does not wait with them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from otel_patterns import PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.journal import append as append_module
from otel_patterns.journal import sync as sync_module
from otel_patterns.settings import Durability


class HeldDisk:
    """Syncs nothing before it is released, and counts."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = str(directory)
        self._released = threading.Event()
        self.syncs = 0
        monkeypatch.setattr(sync_module, "sync_data", self._sync)
        # The order is what is tested, and no time.
        monkeypatch.setattr(append_module, "GROUP_SECONDS", 5.0)

    def _sync(self, descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(self._directory):
            assert self._released.wait(10)
            self.syncs += 1

    def release(self) -> None:
        """Let what waits and all that comes be synced."""
        self._released.set()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldDisk]:
    """Return a disk that waits to be released."""
    disk = HeldDisk(tmp_path, monkeypatch)
    yield disk
    disk.release()
    shutdown()


def emitter_in(directory: Path, durability: Durability) -> PatternEventEmitter:
    """Return an emitter of a level of durability."""
    return configure(journal=directory / "pattern_events.jsonl", export="off", durability=durability)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks go on until something holds."""
    while not condition():  # noqa: ASYNC110  # nobody tells it
        await asyncio.sleep(0)


async def in_block(emitter: PatternEventEmitter) -> None:
    """Make a run of a block."""
    async with pattern_run("PAT-A", job_id="JOB-1", operation_kind="block", emitter=emitter):
        pass


async def in_stage(emitter: PatternEventEmitter) -> None:
    """Make a run that its stage ends."""
    async with pattern_run("PAT-A", job_id="JOB-1", operation_kind="stage", emitter=emitter) as run, run.execution():
        pass


async def in_coroutine(emitter: PatternEventEmitter) -> None:
    """Make a run of a coroutine function."""

    @pattern_run("PAT-A", job_id="JOB-1", operation_kind="coroutine", emitter=emitter)
    async def work() -> None:
        pass

    await work()


async def in_generator(emitter: PatternEventEmitter) -> None:
    """Make a run of an async generator."""

    @pattern_run("PAT-A", job_id="JOB-1", operation_kind="generator", emitter=emitter)
    async def items() -> AsyncIterator[int]:
        yield 1

    async for _ in items():
        pass


@pytest.mark.parametrize("run", [in_block, in_stage, in_coroutine, in_generator])
def test_other_tasks_go_on_while_the_end_of_a_run_waits_for_the_disk(
    tmp_path: Path, disk: HeldDisk, run: Callable[[PatternEventEmitter], Awaitable[None]]
) -> None:
    """It is on disk when the block is left, and what another task did until then had not to wait."""
    emitter = emitter_in(tmp_path, "group")
    order: list[str] = []

    async def end_run() -> None:
        await run(emitter)
        order.append(f"ended after {disk.syncs} syncs")

    async def release() -> None:
        await until(lambda: any(event.is_terminal for event in emitter.get_events()))
        order.append("released")
        disk.release()

    async def both() -> None:
        await asyncio.gather(end_run(), release())

    asyncio.run(both())
    assert order == ["released", "ended after 1 syncs"]


def test_runs_that_end_together_share_a_sync(tmp_path: Path, disk: HeldDisk) -> None:
    """A hundred ends wait for two syncs: the one under way, and the next."""
    emitter = emitter_in(tmp_path, "group")

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(in_block(emitter)) for _ in range(100)]
        await until(lambda: len(emitter.get_events()) == 300)
        disk.release()
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())
    assert disk.syncs <= 2


def test_cancelled_while_it_waits_is_left_at_once(tmp_path: Path, disk: HeldDisk) -> None:
    """The run is in the journal as it ended; only the wait is broken off."""
    emitter = emitter_in(tmp_path, "group")

    async def cancel() -> None:
        task = asyncio.create_task(in_block(emitter))
        await until(lambda: len(emitter.get_events()) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert disk.syncs == 0
    assert emitter.get_events()[-1].status == "success"


def test_disk_that_does_not_answer_is_not_waited_for_for_ever(
    tmp_path: Path, disk: HeldDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is left after its time, also when the loop is closed before the disk answers."""
    monkeypatch.setattr(append_module, "GROUP_SECONDS", 0.02)
    emitter = emitter_in(tmp_path, "group")
    asyncio.run(in_block(emitter))
    assert disk.syncs == 0
    disk.release()
    assert emitter.channel.journal.sync(5)
    # The thread has survived that nobody waited any more.
    asyncio.run(in_block(emitter))
    assert emitter.channel.journal.sync(5)


def test_each_event_of_an_async_block_is_on_disk_when_the_block_is_left(tmp_path: Path, disk: HeldDisk) -> None:
    """At level `each`, stages that do not end the run are waited for as well."""
    disk.release()
    emitter = emitter_in(tmp_path, "each")
    found: list[tuple[int, bool]] = []

    async def validate() -> None:
        async with pattern_run("PAT-A", job_id="JOB-1", operation_kind="stage", emitter=emitter) as run:
            async with run.validation("preflight"):
                pass
            found.append((len(emitter.get_events()), emitter.channel.journal.sync(0)))
            before = disk.syncs
        found.append((len(emitter.get_events()), disk.syncs > before))

    asyncio.run(validate())
    assert found == [(3, True), (5, True)]


def test_other_event_loops_wait_as_blocks_do(tmp_path: Path, disk: HeldDisk) -> None:
    """Without a loop of asyncio the end is on disk all the same."""
    disk.release()
    emitter = emitter_in(tmp_path, "group")
    coroutine = in_block(emitter)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert disk.syncs == 1
