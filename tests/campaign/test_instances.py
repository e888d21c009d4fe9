"""Files of instances and of known verdicts: as VNN-COMP writes them, and what is wrong with one, by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from birdnn.campaign import REPAIR, VERIFY, campaign_figures, campaign_rows, read_instances, read_known
from birdnn.errors import FormatError


def written(folder: Path, text: str) -> Path:
    path = folder / "instances.csv"
    path.write_bytes(text.encode())
    return path


def test_rows_as_the_competition_writes_them(tmp_path: Path) -> None:
    first, second = read_instances(
        written(tmp_path, "./onnx/a.onnx,vnnlib/p.vnnlib.gz,116\r\n\n\"[('f', 'onnx/b.onnx')]\",/abs/q.vnnlib,1e2\n")
    )
    assert (first.nets, first.props) == ((("", tmp_path / "onnx/a.onnx"),), (tmp_path / "vnnlib/p.vnnlib.gz",))
    assert (first.onnx, first.vnnlib, first.timeout_s, first.line) == ("a.onnx", "p.vnnlib.gz", 116.0, 1)
    assert first.name == "a p"
    assert (second.nets, second.props) == ((("", tmp_path / "onnx/b.onnx"),), (Path("/abs/q.vnnlib"),))
    assert second.timeout_s == 100.0


PAIR = "\"[('f', 'onnx/a.onnx'), ('g', './b.onnx.gz')]\""


def test_a_query_about_two_networks_names_them(tmp_path: Path) -> None:
    (one,) = read_instances(written(tmp_path, f"{PAIR},q.vnnlib,5\n"))
    assert one.nets == (("f", tmp_path / "onnx/a.onnx"), ("g", tmp_path / "b.onnx.gz"))
    assert (one.onnx, one.name) == ("a.onnx+b.onnx.gz", "a+b q")
    known = tmp_path / "known.csv"
    for said in (PAIR, "a+b", "x/a.onnx+b.onnx"):
        known.write_text(f"onnx,vnnlib,verdict\n{said},q.vnnlib,holds\n")
        (again,) = read_instances(written(tmp_path, f"{PAIR},q.vnnlib,5\n"), known=read_known(known))
        assert again.expected == "unsat"
    with pytest.raises(FormatError, match="line 1: 2 networks; a repair is of one network"):
        read_instances(written(tmp_path, f"{PAIR},q.vnnlib,5\n"), repair=True)


def test_a_header_names_columns_in_any_order(tmp_path: Path) -> None:
    (one,) = read_instances(written(tmp_path, "\ufeffTimeout,VNNLIB,onnx,expected\n5,p.vnnlib,a.onnx,holds\n"))
    assert (one.onnx, one.vnnlib, one.timeout_s, one.expected) == ("a.onnx", "p.vnnlib", 5.0, "unsat")


def test_repairs_name_several_files(tmp_path: Path) -> None:
    path = written(tmp_path, "onnx,vnnlib,keep,suite\na.onnx,p.vnnlib; q.vnnlib,r.vnnlib,\na.onnx,,,acasxu\n")
    first, second = read_instances(path, repair=True, timeout_s=60)
    assert first.props == (tmp_path / "p.vnnlib", tmp_path / "q.vnnlib")
    assert first.keep == (tmp_path / "r.vnnlib",)
    assert first.vnnlib == "p.vnnlib+q.vnnlib"
    assert (second.props, second.suite, second.vnnlib) == ((), "acasxu", "suite")


def test_names_that_are_alike_get_their_folders(tmp_path: Path) -> None:
    found = read_instances(written(tmp_path, "a/n.onnx,p.vnnlib,1\nb/n.onnx,p.vnnlib,1\n"))
    assert [one.onnx for one in found] == ["a/n.onnx", "b/n.onnx"]
    assert [one.name for one in found] == ["a/n p", "b/n p"]
    assert [REPAIR.names(one) for one in found] == [("a/n", "p"), ("b/n", "p")]
    rows = campaign_rows(VERIFY, found, [None, None])
    assert (
        campaign_figures("x", VERIFY, [replace(row, answer="sat", seconds=1.0) for row in rows[:1]] + rows[1:]).solved
        == 1
    )


def test_a_row_that_is_repeated_counts_once(tmp_path: Path) -> None:
    found = read_instances(written(tmp_path, "a.onnx,p.vnnlib,5\nb.onnx,p.vnnlib,5\na.onnx,p.vnnlib,5.0\n"))
    assert [one.line for one in found] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "holds no row"),
        ("onnx,vnnlib,timeout\n", "holds no row"),
        ("a.onnx,p.vnnlib,5\nb.onnx,p.vnnlib\n", "line 2: 3 fields are expected .onnx,vnnlib,timeout., not 2"),
        ("a.onnx,p.vnnlib,5\n\nb.onnx,p.vnnlib,5,6\n", "line 3: 3 fields"),
        ("a.onnx,p.vnnlib,soon\n", "line 1: the limit 'soon' is no positive number of seconds"),
        ("a.onnx,p.vnnlib,0\n", "line 1: the limit '0'"),
        ("a.onnx,p.vnnlib,inf\n", "line 1: the limit 'inf'"),
        ("a.onnx,p.vnnlib\n", "line 1: no column timeout: say --timeout S"),
        ("a.onnx\n", "line 1: no column vnnlib or"),
        ("a.onnx,,5\n", "line 1: the network and the property are expected"),
        ("onnx,timeout\na.onnx,5\n", "line 1: no column vnnlib or .*; there are onnx, timeout"),
        ("\"[('f','a.onnx'),('f','b.onnx')]\",p.vnnlib,5\n", "line 1: .* names two networks alike"),
        ('"[]",p.vnnlib,5\n', "line 1: the network and the property are expected"),
        ('"[oops",p.vnnlib,5\n', "line 1: '.oops' is no list of pairs"),
        ("a.onnx,p.vnnlib,5\na.onnx,p.vnnlib,6\n", "line 2: the instance of line 1 again, with another limit"),
        ('a.onnx,"p.vnnlib,5\n', "line 1: no CSV"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=f"instances.csv.*{message}"):
        read_instances(written(tmp_path, text))


def test_no_text_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a.onnx,\xff\xff,5\n")
    with pytest.raises(FormatError, match="byte 7: not text in UTF-8"):
        read_instances(tmp_path / "x.csv")
    with pytest.raises(FormatError, match="no such file"):
        read_instances(tmp_path / "absent.csv")


def test_known_verdicts_are_matched_by_stems(tmp_path: Path) -> None:
    known = tmp_path / "known.csv"
    known.write_text("onnx,vnnlib,verdict\nsome/a.onnx,p.vnnlib.gz,violated\nb.onnx,p.vnnlib,unknown\n")
    assert read_known(known) == {("a", "p"): "sat"}
    path = written(tmp_path, "onnx/a.onnx,p.vnnlib,5\nb.onnx,p.vnnlib,5\n")
    assert [one.expected for one in read_instances(path, known=read_known(known))] == ["sat", ""]


def test_verdicts_that_only_folders_tell_apart_are_not_mixed_up(tmp_path: Path) -> None:
    """By its name alone a property got the verdict of another one, and the campaign ended in status 6."""
    known = tmp_path / "known.csv"
    known.write_text("onnx,vnnlib,verdict\na.onnx,./x/p.vnnlib,sat\na.onnx,y/p.vnnlib,unsat\na.onnx,q.vnnlib,unsat\n")
    both = written(tmp_path, "a.onnx,x/p.vnnlib,5\na.onnx,y/p.vnnlib,5\na.onnx,q.vnnlib,5\n")
    assert [one.expected for one in read_instances(both, known=read_known(known))] == ["sat", "unsat", "unsat"]
    one = written(tmp_path, "a.onnx,z/p.vnnlib,5\n")
    assert [one.expected for one in read_instances(one, known=read_known(known))] == [""]
