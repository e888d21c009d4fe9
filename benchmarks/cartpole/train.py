"""A controller of a pole on a cart: ``python -m benchmarks.cartpole.train FILE.onnx [--seed S]``.

Four inputs (position, speed, angle, angular speed of the pole), two actions: push left, output 0, or right, output 1;
the greater output decides. It imitates the sign of a linear controller on states that this controller visits, seen with
noise, as policies of reinforcement learning are: good where it has been, anything elsewhere. The dynamics are those of
Barto, Sutton and Anderson 1983, as in Gym's CartPole-v1.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from birdnn.formats.onnx import layers_to_onnx

HIDDEN = 16, 16
GAINS = 0.6, 1.0, 9.0, 2.0
STATES, STEPS, EPOCHS = 64, 200, 40
SCALE = 2.4, 3.0, 0.21, 3.0
"""Reach of position, speed, angle (radians) and angular speed: the declared domain."""

_GRAVITY, _CART, _POLE, _LENGTH, _FORCE, _TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02


def step(state: Tensor, right: Tensor) -> Tensor:
    """States (n, 4) a tick later, pushed right where ``right`` (n,) bool says so, else left."""
    position, speed, angle, turning = state.unbind(1)
    force = torch.where(right, _FORCE, -_FORCE)
    mass = _CART + _POLE
    common = (force + _POLE * _LENGTH * turning**2 * angle.sin()) / mass
    turn = (_GRAVITY * angle.sin() - angle.cos() * common) / (_LENGTH * (4 / 3 - _POLE * angle.cos() ** 2 / mass))
    push = common - _POLE * _LENGTH * turn * angle.cos() / mass
    return torch.stack(
        [position + _TICK * speed, speed + _TICK * push, angle + _TICK * turning, turning + _TICK * turn], 1
    )


def visited(generator: torch.Generator) -> Tensor:
    """States (n, 4) on the way of the linear controller, with some pushes at random."""
    state = (2 * torch.rand(STATES, 4, generator=generator) - 1) * torch.tensor(SCALE) / 3
    seen = []
    for _ in range(STEPS):
        seen.append(state)
        right = torch.rand(STATES, generator=generator) < torch.where(wanted(state), 0.85, 0.15)
        state = step(state, right)
        fallen = (state.abs() > torch.tensor(SCALE)).any(1)
        state[fallen] = (2 * torch.rand(int(fallen.sum()), 4, generator=generator) - 1) * torch.tensor(SCALE) / 3
    return torch.cat(seen)


def wanted(state: Tensor) -> Tensor:
    """Does the linear controller push right? (n,) bool."""
    return state @ torch.tensor(GAINS) > 0


def train(seed: int) -> bytes:
    """An ONNX file of a ReLU network, 4-16-16-2."""
    generator = torch.Generator().manual_seed(seed)
    x = visited(generator)
    y = wanted(x).long()
    layers = [nn.Linear(before, after) for before, after in pairwise((4, *HIDDEN, 2))]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for part in torch.split(torch.randperm(len(x), generator=generator), 512):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part] / torch.tensor(SCALE)), y[part]).backward()
            optimiser.step()
    # inputs in their own units: the scaling becomes part of the first layer
    first = layers[0].weight.detach() / torch.tensor(SCALE)
    rest = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]
    return layers_to_onnx([(first.numpy(), rest[0][1]), *rest[1:]])


def must_push_right(lower: tuple[float, ...], upper: tuple[float, ...]) -> str:
    """VNN-LIB: in this box of states the controller has to push right."""
    lines = [f"(declare-const X_{i} Real)" for i in range(4)] + [f"(declare-const Y_{i} Real)" for i in range(2)]
    for i, (low, high) in enumerate(zip(lower, upper, strict=True)):
        lines += [f"(assert (>= X_{i} {low}))", f"(assert (<= X_{i} {high}))"]
    return "\n".join([*lines, "(assert (<= Y_1 Y_0))", ""])


def main() -> None:
    """Train one."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    options.file.write_bytes(train(options.seed))


if __name__ == "__main__":
    main()
