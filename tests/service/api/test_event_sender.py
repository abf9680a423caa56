"""Events go out whole and in order; pieces of an answer that come close together in one go."""

from __future__ import annotations

import asyncio

import pytest

from service.api import events
from service.api.events import Event, EventSender


class Client:
    """Takes what is sent; while ``slow`` it takes nothing more."""

    def __init__(self):
        self.taken = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.arrived = asyncio.Event()

    async def send(self, message):
        await self.reads.wait()
        self.taken.append(message["body"])
        self.arrived.set()

    @property
    def text(self):
        return b"".join(self.taken)


def piece(text):
    return Event("answer", text)


def encoded(*put):
    return b"".join(event.encode() for event in put)


@pytest.fixture
def never(monkeypatch):
    """The moment does not end while the test runs."""
    monkeypatch.setattr(events, "_MOMENT", 1e6)


@pytest.mark.usefixtures("never")
async def test_pieces_of_an_answer_wait_for_each_other_and_all_else_goes_at_once():
    client = Client()
    sender = EventSender(client.send)
    sent = [Event("step", 1), piece("The "), piece("heart")]
    for event in sent:
        await sender.put(event)
    assert client.taken == [encoded(sent[0])]
    await sender.put(Event("section", 2))
    assert client.taken == [encoded(sent[0]), encoded(*sent[1:], Event("section", 2))]
    await sender.stop()


async def test_the_first_piece_goes_at_once():
    client = Client()
    sender = EventSender(client.send)
    await sender.put(piece("The "))
    assert client.taken == [encoded(piece("The "))]
    await sender.stop()


async def test_a_piece_is_sent_when_its_moment_is_over_though_nothing_follows():
    client = Client()
    sender = EventSender(client.send)
    await sender.put(piece("The "))
    client.arrived.clear()
    await sender.put(piece("heart"))
    async with asyncio.timeout(10):
        await client.arrived.wait()
    assert client.text == encoded(piece("The "), piece("heart"))
    await sender.stop()


@pytest.mark.usefixtures("never")
async def test_what_waits_at_the_end_is_sent():
    client = Client()
    sender = EventSender(client.send)
    sent = [Event("step", 1), piece("a"), piece("b")]
    for event in sent:
        await sender.put(event)
    await sender.flush()
    assert client.text == encoded(*sent)
    await sender.flush()
    assert len(client.taken) == 2  # nothing is sent where nothing waits
    await sender.stop()


async def test_what_comes_while_a_client_reads_slowly_follows_in_order():
    client = Client()
    sender = EventSender(client.send)
    await sender.put(piece("a"))
    client.reads.clear()
    await sender.put(piece("b"))
    putting = asyncio.ensure_future(sender.put(Event("section", 1)))
    while sender._late is None and not sender._in_turn.locked():
        await asyncio.sleep(0)
    client.reads.set()
    await putting
    assert client.text == encoded(piece("a"), piece("b"), Event("section", 1))
    await sender.stop()


async def test_nothing_is_sent_after_the_end():
    client = Client()
    sender = EventSender(client.send)
    await sender.put(piece("a"))
    await sender.put(piece("b"))
    await sender.stop()
    assert sender._timer is None
    assert client.text == encoded(piece("a"))
