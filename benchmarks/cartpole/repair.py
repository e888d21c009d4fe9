"""What becomes of a policy of two actions: ``python -m benchmarks.cartpole.repair FOLDER [--boxes N]``.

One unsafe case, "where the pole leans to the right, push right", on the declared domain, with ``--domain property`` and
without a domain. With few boxes for each proof only what is nearly constant can be proved: what drives a repair to a
controller that always does the same. What was kept is counted here once more, over the whole domain.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cartpole.train import SCALE, must_push_right, train
from birdnn.formats import read_network
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import RepairRequest
from birdnn.sample import draw_uniform, evaluate

CASES = {
    "leans right": ((-2.4, -3.0, 0.0, 0.0), (2.4, 3.0, 0.21, 3.0)),
    "nearly upright, or leans right": ((-2.4, -3.0, -0.05, -1.0), (2.4, 3.0, 0.21, 3.0)),
}


def main() -> None:
    """Repair each case on each domain."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--boxes", type=int, default=60)
    arguments.add_argument("--timeout", type=float, default=120.0)
    options = arguments.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    net, domain = options.folder / "policy.onnx", options.folder / "domain.toml"
    net.write_bytes(train(0))
    domain.write_text(f"lower = {[-s for s in SCALE]}\nupper = {list(SCALE)}\n")
    settings = replace(RepairSettings(), slice_boxes=options.boxes)
    for name, box in CASES.items():
        prop = options.folder / f"{name}.vnnlib"
        prop.write_text(must_push_right(*box))
        for where in ("property", None, domain):
            request = RepairRequest(
                net=net,
                props=(prop,),
                domain=where,
                out=options.folder / f"{name}, {where if where != domain else 'domain'}",
                timeout_s=options.timeout,
            )
            outcome = repair_files(request, settings=settings)
            kept = "" if outcome.out is None else f"; over the whole domain {same(net, Path(outcome.out)):.2%}"
            print(f"{name}; domain: {where}{kept}\n  {outcome.headline}", flush=True)


def same(before: Path, after: Path) -> float:
    """Share of states of the whole domain with the same action."""
    reach = torch.tensor(SCALE).double()
    x = draw_uniform(-reach, reach, 200_000, torch.Generator().manual_seed(5))
    actions = [evaluate(read_network(path), x).argmax(1) for path in (before, after)]
    return float((actions[0] == actions[1]).double().mean())


if __name__ == "__main__":
    main()
