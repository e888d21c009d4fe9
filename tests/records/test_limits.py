"""How a limit of time is asked for."""

from __future__ import annotations

import pytest

from birdnn.records.limits import OutOfTime, never, require_time


def test_work_goes_on_only_where_there_is_time_left() -> None:
    require_time(never)
    require_time(lambda: False)
    with pytest.raises(OutOfTime):
        require_time(lambda: True)


def test_a_limit_is_asked_anew_each_time() -> None:
    answers = iter([False, False, True])
    require_time(lambda: next(answers))
    require_time(lambda: next(answers))
    with pytest.raises(OutOfTime):
        require_time(lambda: next(answers))
