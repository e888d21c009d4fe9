"""The training loop that all block repairs share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from birdnn.repair.training import Exam, Lesson, Score, TrainingSettings, model_outputs, train_model


def lesson(n: int = 60, failing: int = 6) -> Lesson:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator)
    y = (x[:, 0] > 0).long()
    right = torch.ones(n, dtype=torch.bool)
    right[:failing] = False
    return Lesson(x=x, y=y, teacher=torch.zeros(n, 2), right=right)


def test_failing_examples_weigh_what_they_are_given() -> None:
    weights = lesson().weights(0.3)
    assert float(weights[:6].sum()) == pytest.approx(0.3 * 60)
    assert float(weights.sum()) == pytest.approx(60)
    assert (lesson(failing=30).weights(0.3) == 1).all()
    assert (lesson(failing=0).weights(0.3) == 1).all()


def test_the_loss_keeps_what_was_right_and_teaches_what_was_wrong() -> None:
    some = lesson(4, 2)
    weights = torch.ones(4)
    wrong = nn.functional.cross_entropy(torch.zeros(4, 2), some.y)
    assert float(some.loss(torch.zeros(4, 2), weights, 5.0)) == pytest.approx(float(wrong))
    moved = torch.tensor([[3.0, -3.0], [0, 0], [0, 0], [0, 0]])
    only_class = float(nn.functional.cross_entropy(moved, some.y))
    assert float(some.loss(moved, weights, 5.0)) == pytest.approx(only_class)  # example 0 fails: nothing is kept
    moved = moved.flip(0)
    assert float(some.loss(moved, weights, 5.0)) > float(nn.functional.cross_entropy(moved, some.y)) + 1


def test_training_never_ends_below_where_it_began() -> None:
    some = lesson()
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-9.0, 0, 0, 0], [9, 0, 0, 0]]))
        model.bias.zero_()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    exam = Exam(x=some.x, y=some.y)
    assert exam.score(model).accuracy == 1
    harmful = Lesson(x=some.x, y=1 - some.y, teacher=some.teacher, right=some.right)
    score = train_model(model, harmful, exam, TrainingSettings(epochs=3, rate=1.0), torch.Generator().manual_seed(0))
    assert score.accuracy == 1
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())


def test_training_helps_and_ends_when_told() -> None:
    some, told = lesson(), []
    model = nn.Linear(4, 2)
    nn.init.zeros_(model.weight)

    def epoch(number: int, best: Score) -> bool:
        told.append(number)
        return number < 2

    settings = TrainingSettings(epochs=9, batch=5, rate=0.1, keep=0.0)
    score = train_model(model, some, Exam(x=some.x, y=some.y), settings, torch.Generator().manual_seed(0), epoch=epoch)
    assert told == [0, 1, 2]
    assert score.accuracy > 0.9
    assert float((model_outputs(model, some.x).argmax(1) == some.y).double().mean()) == score.accuracy
    assert Score(3, -1.0, 4) > Score(3, -2.0, 4) > Score(2, -0.1, 4)
