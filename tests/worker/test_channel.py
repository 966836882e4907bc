from __future__ import annotations

import threading
import time

import pytest

from worker.channel import Channel, GivenUp


def test_items_come_in_order_and_no_more_than_fit() -> None:
    channel: Channel[int] = Channel(3)
    most = 0

    def produce() -> None:
        for number in range(100):
            channel.put(number)
        channel.finish()

    thread = threading.Thread(target=produce)
    thread.start()
    taken = []
    for item in channel:
        most = max(most, len(channel._items))
        taken.append(item)
    thread.join()
    assert taken == list(range(100))
    assert most <= 3


def test_an_error_comes_after_the_items_before_it() -> None:
    channel: Channel[int] = Channel(3)
    channel.put(1)
    channel.fail(ValueError("broken"))
    items = iter(channel)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_a_consumer_that_leaves_frees_its_producer() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    outcome: list[str] = []

    def produce() -> None:
        try:
            channel.put(2)
        except GivenUp:
            outcome.append("told")

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.02)
    channel.give_up()
    thread.join(5)
    assert outcome == ["told"]
    assert list(channel) == []


def test_nothing_is_no_error() -> None:
    channel: Channel[int] = Channel(1)
    channel.finish()
    assert list(channel) == []
