"""VNN-LIB texts from a grammar that knows every oddity on which two readers may part."""

from __future__ import annotations

from random import Random

NUMBERS = (
    *("0", "1", "-1", "0.5", "-0.5", "2", "-3", "0.1"),  # mostly these
    *(
        ".5",
        "1.",
        "+1",
        "-.5",
        "00.5",
        "1e1",
        "1E-1",
        "1e+0",
        "2.5e-1",
        "1e-400",
        "1e401",
        "1e0001",
        "1e",
        "0x1",
        "1/2",
    ),
    *("--1", "-", "٣", "½", "1,5", "1_0", "#b1", "inf", "nan", "1e-320", "16777217", "0.30000000000000004"),
    *("(- 1)", "(- 0.5)", "(/ 1 2)", "(/ -1 4)", "(/ 1 2 2)", "(/ 1 3)", "(+ 0.25)", "(+ 1 -0.5)", "(- 3 2.5)"),
    *("(- 1 1 1)", "(* 2 0.25)", "(* 2 3 0.5)", "(/ 1 0)", "(/ 1)", "(+)", "(-)", "(*)", "(- (- 1))"),
)
SPACES = (
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\x0c",
    "\x0b",
    "\xa0",
    "\u2003",
    "\u2028",
    "\x85",
    "\ufeff",
    "\x00",
    "\x1c",
    "\u200b",
)
ENDS = ("\n", "\r\n", "\r", "\x0b", "\x0c", "\u2028", "\x85", "\n\r", "")
INSERTS = (
    "(exit)",
    "(check-sat)",
    "(check-sat)(exit)",
    "(push 1)",
    "(pop 1)",
    "(reset)",
    "(reset-assertions)",
    "(set-logic QF_LRA)",
    "(set-option :produce-models true)",
    "(get-value (X_0 Y_0))",
    "(get-value ((assert (<= Y_0 -9))))",
    "(get-model)",
    "(vnnlib-version <1.0>)",
    "(set-info :source |by hand) (assert (<= X_0 0.1)) (set-info :notes |)",
    "(set-info :source |by hand|)",
    '(set-info :source "a ""b"" c")',
    '(set-info :source "a\\") (assert (<= Y_0 -9)) (set-info :notes \\"b")',
    '(set-info :source "(assert (<= X_0 0.1))")',
    "(set-info :source (assert (<= X_0 0.1)))",
    '(echo "; no comment")',
    "(declare-const X_0 Real)",
    "(declare-const Y_9 Real)",
    "(declare-const X_0 Int)",
    "(declare-const |X_0| Real)",
    "(declare-fun X_7 (Real) Real)",
    "(declare-fun () Y_7 Real)",
    "(define-fun Y_8 () Real 1)",
    "(assert)",
    "(assert true)",
    "(assert (or))",
    "(assert (and))",
    "(assert (! (<= Y_0 1) :named a))",
    "(assert (let ((a 1)) (<= Y_0 a)))",
    "(assert (not (<= Y_0 1)))",
    "(assert (<= |Y_0| 1))",
    "(assert ((<= Y_0 1)))",
    "(assert (<= Y_0 1) (<= Y_0 0))",
    "hello",
    "()",
    ")",
    "(",
    '"',
    "|",
    ";",
)
RELATIONS = ("<=", ">=", "<", ">", "=")


def text(draw: Random) -> str:
    """One text; about a third of all are read by one of our readers, most of these by both."""
    sizes = {"X": draw.randint(1, 2), "Y": draw.randint(1, 2)}
    names = [f"{kind}_{i}" for kind, count in sizes.items() for i in range(count)]
    commands = [_declaration(name, draw) for name in names]
    for name in names[: sizes["X"]]:
        sides = [f"(>= {name} {_number(draw, '-1')})", f"(<= {name} {_number(draw, '1')})"]
        commands += (
            [f"(assert {side})" for side in sides] if draw.random() < 0.7 else [f"(assert (and {' '.join(sides)}))"]
        )
    commands += [f"(assert {_formula(names, draw, 3)})" for _ in range(draw.choice((0, 1, 1, 2)))]
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2))):
        commands.insert(draw.randint(0, len(commands)), draw.choice(INSERTS))
    for _ in range(draw.choice((0, 0, 1))):
        start, end = draw.choice(("é", "a |", "x", " ")), draw.choice(ENDS[: draw.choice((2, 2, 9))])
        hidden = "(assert (<= X_0 0.1))"
        comment = f"; {start}{end}{hidden}" if draw.random() < 0.3 else f"; {start} {hidden}{end}"
        commands.insert(draw.randint(0, len(commands)), comment)
    if draw.random() < 0.05:
        draw.shuffle(commands)
    whole = draw.choice(("\n", "\n", " ", "")).join(commands)
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        places = [i for i, c in enumerate(whole) if c in " \n()"]
        place = draw.choice(places)
        keep = "" if whole[place] in " \n" else whole[place]
        whole = whole[:place] + keep + draw.choice(SPACES[:4] if draw.random() < 0.6 else SPACES) + whole[place + 1 :]
    return whole


def _declaration(name: str, draw: Random) -> str:
    return f"(declare-const {name} Real)" if draw.random() < 0.7 else f"(declare-fun {name} () Real)"


def _number(draw: Random, usual: str = "") -> str:
    if usual and draw.random() < 0.9:
        return usual
    return draw.choice(NUMBERS[:8] if draw.random() < 0.93 else NUMBERS)


def _term(names: list[str], draw: Random, depth: int) -> str:
    kind = draw.random()
    if kind < 0.3 or not depth:
        return _number(draw)
    if kind < 0.65:
        return draw.choice(names)
    if kind < 0.67:
        return draw.choice(("Y_5", "|Y_0|", "y_0", "Y_00", "X_-1", '"Y_0"', "Y_0|", "true"))
    parts = [_term(names, draw, depth - 1) for _ in range(draw.choice((1, 2, 2, 2, 3)))]
    return f"({draw.choice('+-*/+-*')} {' '.join(parts)})"


def _formula(names: list[str], draw: Random, depth: int) -> str:
    kind = draw.random()
    if kind < 0.5 or not depth:
        outputs = [name for name in names if name[0] == "Y"] if draw.random() < 0.93 else names
        count = draw.choice((2, 2, 2, 2, 2, 2, 2, 3, 3, 1))
        return f"({draw.choice(RELATIONS)} {' '.join(_term(outputs, draw, 2) for _ in range(count))})"
    if kind < 0.53:
        return draw.choice(("true", "false", "()", "Y_0", "(distinct Y_0 1)", "(=> true (<= Y_0 1))"))
    parts = [_formula(names, draw, depth - 1) for _ in range(draw.randint(0, 3))]
    return f"({draw.choice(('and', 'or'))} {' '.join(parts)})"
