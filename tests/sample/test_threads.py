"""Small computations on all cores: the same results in the same order, and torch left as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from birdnn.records.limits import OutOfTime
from birdnn.sample import evaluate
from birdnn.sample.draw import BATCH
from birdnn.sample.threads import one_thread_each
from tests.bounds.builders import random_net


@pytest.fixture
def two_threads() -> Iterator[None]:
    """As on a machine of two cores; tests have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_order_and_each_has_one_thread() -> None:
    seen: set[int] = set()

    def work(part: int) -> int:
        seen.add(torch.get_num_threads())
        return part * part

    assert one_thread_each(work, range(50)) == [part * part for part in range(50)]
    assert seen == {1}


@pytest.mark.usefixtures("two_threads")
def test_torch_is_left_as_it_was() -> None:
    """Here, and in threads that somebody makes later."""
    one_thread_each(lambda part: part, range(10))
    found = [torch.get_num_threads()]
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [2, 2]


@pytest.mark.usefixtures("two_threads")
def test_the_first_error_comes_through_and_ends_it() -> None:
    begun: list[int] = []

    def work(part: int) -> None:
        begun.append(part)
        if part == 3:
            raise OutOfTime

    with pytest.raises(OutOfTime):
        one_thread_each(work, range(10_000))
    assert len(begun) < 10_000


@pytest.mark.usefixtures("two_threads")
def test_outputs_do_not_depend_on_the_threads() -> None:
    """Bit by bit those of one batch after the other, without gradients."""
    net, x = random_net(0, (5, 50, 50, 5)), torch.rand(3 * BATCH["cpu"] + 7, 5)
    found = evaluate(net, x)
    torch.set_num_threads(1)
    with torch.no_grad():
        expected = torch.cat([net(part) for part in torch.split(x, BATCH["cpu"])])
    assert torch.equal(found, expected)
    assert not found.requires_grad


@pytest.mark.usefixtures("two_threads")
def test_a_limit_ends_an_evaluation() -> None:
    asked = iter([False, False, True] + [True] * 100)
    with pytest.raises(OutOfTime):
        evaluate(random_net(0, (5, 50, 5)), torch.rand(20 * BATCH["cpu"], 5), over=lambda: next(asked))
