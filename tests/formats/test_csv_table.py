"""Tables as CSV: what is read back is what was written, and no cell is a formula."""

import csv
import io

import pytest

from placer.formats.csv_table import read_cell, to_csv

STARTS = ["=", "+", "-", "@", "\t", "\r", " =", "\n=", "'=", "''@"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rest", ["", "1", "cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(start, rest):
    text = to_csv([start + rest], [{start + rest: start + rest}])
    head, row = csv.reader(io.StringIO(text, newline=""))
    assert head == row == [f"'{start}{rest}"]
    assert read_cell(row[0]) == start + rest


@pytest.mark.parametrize("text", ["plain", "", "'quoted'", "a=b", 'say "no", or\nyes', "a\rb", "größe"])
def test_other_texts_stay_as_they_are(text):
    assert list(csv.reader(io.StringIO(to_csv(["a", "b"], [{"a": text, "b": text}]), newline=""))) == [
        ["a", "b"],
        [text, text],
    ]
    assert read_cell(text) == text


def test_numbers_stay_numbers():
    rows = [{"a": -1, "b": -0.5, "c": None, "d": True, "left out": 3}]
    assert to_csv("abcd", rows) == "a,b,c,d\n-1,-0.5,,True\n"
