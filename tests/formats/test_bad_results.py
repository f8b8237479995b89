"""What is no result is refused in one line that says why."""

import json
import re

import pytest

from placer.errors import InputError
from placer.formats.files import load_result
from tests.formats.test_bad_input import NATIVE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps(NATIVE), "not a result: this is an instance"),
        (json.dumps({"format": "placer-result"}), r"\w+: this field is required \(and \d+ more defects\)"),
        ("[]", "not a result: the top level must be an object, got a list"),
    ],
)
def test_bad_results(tmp_path, content, expected):
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_result(path)
    assert re.fullmatch(expected, str(caught.value).removeprefix(f"{path}: "))
