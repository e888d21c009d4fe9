"""Options of block-level localisation and repair, which speak about labelled examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from birdnn.records import Formula

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="NPZ", help="Labelled examples: x, one float32 input in each row; y, class indices."
    ),
]
ChosenBlocks = Annotated[
    list[str] | None,
    typer.Option(
        "--block",
        metavar="NAME=FIRST..LAST|TOML",
        help="A block of your own, by its first and last node; or a file of them. May be repeated.",
    ),
]
FormulaOption = Annotated[
    Formula | None, typer.Option("--formula", help="How counts of examples become suspiciousness. Default: ochiai.")
]
Radius = Annotated[
    float | None,
    typer.Option(
        "--radius",
        metavar="R",
        help="How far adversarial neighbours lie, network units; 0: none. Default: 1 % of the examples' range.",
    ),
]
Val = Annotated[
    Path | None,
    typer.Option("--val", metavar="NPZ", help="Validation examples: they say when to stop and what is best."),
]
RepairBlock = Annotated[
    str | None,
    typer.Option("--repair-block", metavar="NAME", help="Which block. Default: the better of the two most suspicious."),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Repair by other methods too, on the same examples: block weights, one layer, all weights, imitation.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", help="Passes over the examples at most, each method. Default: 30."),
]
