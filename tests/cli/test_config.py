"""`birdnn.toml`, a network by its place, and questions to those who misspelt something."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main

from birdnn.cli.app import app
from birdnn.cli.config import options_from_file
from birdnn.cli.options import parse_networks
from birdnn.errors import FormatError
from tests.cli.conftest import Call, birdnn

BASE = 'net = "demo.onnx"\nprop = ["prop_1.vnnlib"]\n'
EXAMPLES = "--data", "d.npz", "--val", "v.npz"


def test_options_are_said_once(call: Call, demo: Path) -> None:
    """Above all tables for every command, in a table for one; the command line comes first, and the record says it."""
    Path("birdnn.toml").write_text(BASE + '[verify]\nsemantics = "float32"\n[plot.map]\nafter = "demo.onnx"\n')
    done = call("verify", "--quiet", "--json", "v.json")
    assert (done.status, done.out.split()[0]) == (0, "unsat"), done.err
    assert "options of birdnn.toml hold" in done.err
    assert json.loads(Path("v.json").read_text())["semantics"] == "float32"
    assert call("verify", "--prop", "prop_8.vnnlib", "--quiet").status == 1
    assert call("falsify", "--quiet").status == 3
    assert call("fetch", "demo", "--to", "d", "--quiet").status == 0


def test_files_are_named_from_where_the_options_lie(call: Call, demo: Path) -> None:
    Path("safety").mkdir()
    for name in ("demo.onnx", "prop_1.vnnlib"):
        Path(name).rename(Path("safety") / name)
    Path("safety/mine.toml").write_text(BASE)
    assert call("--config", "safety/mine.toml", "verify", "--quiet").status == 0
    assert call("verify", "--quiet").status == 2, "nobody named it, and it lies elsewhere"


def test_networks_with_names_are_too(demo: Path) -> None:
    Path("safety").mkdir()
    Path("demo.onnx").rename("safety/demo.onnx")
    Path("safety/mine.toml").write_text('[verify]\nnet = ["f=demo.onnx", "g=demo.onnx"]\n[check]\nnet = "demo.onnx"\n')
    found = options_from_file(Path("safety/mine.toml"), typer.main.get_command(app))
    assert found["verify"]["net"] == ["f=safety/demo.onnx", "g=safety/demo.onnx"]
    assert found["check"]["net"] == ["safety/demo.onnx"]
    Path("safety/mine.toml").write_text('prop = ["eps=1/*.vnnlib"]\n')
    found = options_from_file(Path("safety/mine.toml"), typer.main.get_command(app))
    assert found["verify"]["prop"] == ["safety/eps=1/*.vnnlib"], "a folder may be called so, and a property has no name"


def test_a_word_that_is_a_file_here_and_a_folder_there_is_each_where_it_fits(demo: Path) -> None:
    """``keep`` of a repair is a property, of a campaign the folder for what its repairs write."""
    Path("birdnn.toml").write_text('keep = "prop_1.vnnlib"\n')
    found = options_from_file(Path("birdnn.toml"), typer.main.get_command(app))
    assert found["repair"]["keep"] == ["prop_1.vnnlib"]
    assert "keep" not in found["bench"]
    Path("birdnn.toml").write_text('keep = "*.vnnlib"\n')
    assert "keep" not in options_from_file(Path("birdnn.toml"), typer.main.get_command(app))["bench"]
    Path("birdnn.toml").write_text('keep = "kept"\n')
    assert options_from_file(Path("birdnn.toml"), typer.main.get_command(app))["bench"]["keep"] == "kept"


def test_of_two_that_exclude_each_other_the_one_that_is_typed_counts(call: Call, demo: Path) -> None:
    line = ("plot", "map", "demo.onnx", "--prop", "prop_8.vnnlib", "--out", "map.svg", "--cells", "9", "--quiet")
    Path("birdnn.toml").write_text('[plot.map]\ncertificate = "absent.json.gz"\n')
    assert call(*line, "--prove", "1").status == 0
    Path("birdnn.toml").write_text("[plot.map]\nprove = 1\n")
    done = call(*line, "--certificate", "absent.json.gz")
    assert (done.status, "absent.json.gz" in done.err) == (4, True)
    assert call(*line, "--certificate", "demo.onnx", "--prove", "1").status == 2


def test_what_does_not_count_in_a_call_is_no_mistake_of_the_file(call: Call, demo: Path) -> None:
    """It is said for all calls; typed, the same option is refused."""
    asked = ("verify", "--prop", "prop_8.vnnlib", "--quiet")
    assert call(*asked, "--crosscheck-timeout", "5", "--net", "demo.onnx").status == 2
    Path("birdnn.toml").write_text(BASE + "crosscheck-timeout = 5\n")
    assert call(*asked).status == 1


def test_nor_is_it_in_a_command_below_another(call: Call, demo: Path) -> None:
    Path("birdnn.toml").write_text(BASE + 'as = "N2,9"\n')
    line = ("plot", "line", "demo.onnx", "--prop", "prop_8.vnnlib", "--out", "line.svg", "--quiet")
    assert call(*line).status == 0
    picture = ("plot", "map", "demo.onnx", "--prop", "prop_8.vnnlib", "--out", "map.svg", "--cells", "9", "--quiet")
    assert call(*picture).status == 0
    assert call(*picture, "--as", "N2,9").status == 2, "typed it is meant for this call"


@pytest.mark.parametrize(
    ("text", "arguments", "status"),
    [
        ('device = "cpu"', ("localize", "demo.onnx", "--prop", "prop_8.vnnlib"), 0),
        ("epochs = 3", ("repair", "demo.onnx", "--prop", "prop_1.vnnlib", "--samples", "1", "--out", "out"), 0),
        ('prop = ["prop_1.vnnlib"]', ("repair", "demo.onnx", "--method", "blocks", *EXAMPLES), 4),
        ('prop = ["prop_1.vnnlib"]', ("localize", "demo.onnx", "--blocks", "--data", "absent.npz"), 4),
        ('keep = ["nowhere/*.vnnlib"]', ("repair", "demo.onnx", "--method", "blocks", *EXAMPLES), 4),
        ('method = "retrain"', ("bench", "absent.csv"), 4),
        ("warm = true", ("bench", "absent.csv", "--repair"), 4),
        ('ray = "auto"', ("bench", "absent.csv", "--warm"), 4),
        ("points = ['p.csv']\npoints-radius = 0.1", ("repair", "n.onnx", "--method", "blocks", *EXAMPLES), 4),
    ],
)
def test_options_of_another_way_do_not_count(
    call: Call, demo: Path, text: str, arguments: tuple[str, ...], status: int
) -> None:
    """Status 4: past the look at options, to a file that is missing or of another kind."""
    Path("birdnn.toml").write_text(text)
    done = call(*arguments, "--quiet")
    assert done.status == status, done.err
    assert "nowhere" not in done.err


def test_a_cluster_is_none_for_bounds_that_stay_here(call: Call, demo: Path) -> None:
    """Whether the engine is installed or not: what is said is about the property, or about the engine."""
    Path("birdnn.toml").write_text('ray = "auto"')
    done = call("verify", "demo.onnx", "--prop", "prop_8.vnnlib", "--bound", "auto_lirpa", "--timeout", "20", "--quiet")
    assert "'ray'" not in done.err
    typed = call("verify", "demo.onnx", "--prop", "prop_8.vnnlib", "--bound", "auto_lirpa", "--ray", "auto", "--quiet")
    assert typed.status == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('nett = "x"', "key nett: no command has such an option; did you mean net?"),
        ("[verify]\ntimout = 3", "key verify.timout: birdnn verify has no such option; did you mean timeout?"),
        ("[verfy]\ntimeout = 3", "key verfy: there is no such command; did you mean verify?"),
        ('[repair]\nnet = ["a", "b"]', "key net: takes one value, not a list"),
        ('[plot]\nout = "a.svg"', "key plot.out: the sub-commands of birdnn plot are"),
        ("[plot.maps]\ncells = 3", "did you mean map?"),
        ('[property]\nunits = "raw"', "the sub-commands of birdnn property are convert, explain, make"),
        ('out = "r.csv"', "key out: is another file for each command"),
        ("net = ", "no TOML"),
        ("[[verify]]\nnet = 1", "key verify: no command has such an option"),
        ("\0", "no TOML"),
    ],
)
def test_what_is_misspelt_is_named(call: Call, demo: Path, text: str, told: str) -> None:
    """Status 4: a limit that is silently none would be worse."""
    Path("birdnn.toml").write_text(text)
    done = call("verify", "--net", "demo.onnx", "--prop", "prop_1.vnnlib", "--quiet")
    assert done.status == 4
    assert told in done.err


def test_a_file_that_is_named_has_to_be_there(call: Call, demo: Path) -> None:
    done = call("--config", "absent.toml", "doctor")
    assert done.status == 4
    assert "absent.toml: cannot be read" in done.err


def test_every_option_can_be_said(demo: Path) -> None:
    """Of every command, sub-commands included, under the name that its help shows."""
    Path("all.toml").write_text(BASE + "seed = 3\n[plot.map]\ncells = 50\n[repair]\nno-ties = true\n")
    found = options_from_file(Path("all.toml"), typer.main.get_command(app))
    assert found["repair"]["no_ties"] is True
    assert found["repair"]["prop"] == ["prop_1.vnnlib"]
    assert found["verify"]["seed"] == 3
    assert found["plot"]["map"]["net"] == "demo.onnx"


def test_a_word_is_no_file_of_the_folder(demo: Path) -> None:
    Path("safety").mkdir()
    Path("safety/mine.toml").write_text('domain = "property"\n')
    found = options_from_file(Path("safety/mine.toml"), typer.main.get_command(app))
    assert found["compare"]["domain"] == found["repair"]["domain"] == "property"


@pytest.mark.thorough
def test_campaigns_say_everything_themselves(demo: Path) -> None:
    """A process of a campaign does not read what lies in its folder."""
    Path("birdnn.toml").write_text('[verify]\ntimout = "broken"\n')
    root = Path(__file__).resolve().parents[2]
    command = [
        sys.executable,
        "-m",
        "birdnn.cli.worker",
        "verify",
        "--net",
        "demo.onnx",
        "--prop",
        "prop_1.vnnlib",
        "-q",
    ]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["unsat"]  # its input stays open: it ends with who asked


def test_the_network_is_known_by_its_place(call: Call, demo: Path) -> None:
    for arguments in (("demo.onnx", "--prop", "prop_1.vnnlib"), ("--prop", "prop_1.vnnlib", "demo.onnx")):
        assert call("verify", *arguments, "--quiet").status == 0
    twice = call("verify", "demo.onnx", "--net", "demo.onnx", "--prop", "prop_1.vnnlib")
    assert twice.status == 2
    assert "said twice" in twice.err
    none = call("verify", "--prop", "prop_1.vnnlib")
    assert none.status == 2
    assert "which network?" in none.err


def test_a_misspelt_path_is_a_question(call: Call, demo: Path) -> None:
    done = call("verify", "demo.onx", "--prop", "prop_1.vnnlib")
    assert done.status == 4
    assert "demo.onx: no such file; did you mean demo.onnx?" in done.err
    assert "did you mean" not in call("verify", "quite_another.onnx", "--prop", "prop_1.vnnlib").err


def test_a_large_folder_is_not_listed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = iter([SimpleNamespace(name=f"{number}.onnx") for number in range(10_001)])
    monkeypatch.setattr("os.scandir", lambda _: contextlib.nullcontext(listed))
    with pytest.raises(FormatError, match=r"did you mean 9998\.onnx"):
        parse_networks(["9998.onx"])
    assert next(listed).name == "10000.onnx"


def test_the_process_says_the_same(demo: Path) -> None:
    """Through the real entry point."""
    told = birdnn("--config", demo / "absent.toml", "doctor")
    assert told.status == 4
