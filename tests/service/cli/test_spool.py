from __future__ import annotations

import numpy as np
import pytest

from service.cli.spool import Spool
from service.exports.recording import ExportFrame


def test_values_come_back_in_order_as_often_as_wanted() -> None:
    frames = [ExportFrame(number, 40.0 * number, (), "a.mp4") for number in range(100)]
    with Spool[ExportFrame]() as spool:
        for number, frame in enumerate(frames):
            assert len(spool) == number
            spool.add(frame)
        assert list(spool) == frames
        assert list(spool) == frames


def test_a_part_of_an_array_takes_its_own_room_only() -> None:
    whole = np.zeros((1000, 1000))
    with Spool[np.ndarray]() as spool:
        spool.add(whole[0])
        assert spool._file.tell() < 10_000
        np.testing.assert_array_equal(next(iter(spool)), whole[0])


def test_nothing_is_no_error_and_a_closed_spool_is_one() -> None:
    with Spool[int]() as spool:
        assert list(spool) == []
    with pytest.raises(ValueError, match="closed"):
        spool.add(1)
