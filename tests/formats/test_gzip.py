"""Instances compressed by gzip are read like plain ones; damaged ones are refused in one line."""

import gzip
from pathlib import Path

import pytest

import placer
from placer.errors import InputError
from placer.formats.text import unpacked
from placer.instance.fingerprint import fingerprint
from placer.studies.batch.sources import Limits, find

PLAIN = Path(__file__).parents[2] / "data" / "textbook.json"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "small.json.gz"
    path.write_bytes(gzip.compress(PLAIN.read_bytes()))
    return path


def test_reads_the_same_instance(packed: Path) -> None:
    assert fingerprint(placer.load(packed)) == fingerprint(placer.load(PLAIN))


def test_refuses_damaged_files(packed: Path) -> None:
    whole = packed.read_bytes()
    for damaged in (whole[:-9], whole[:40] + b"\0\0\0\0" + whole[44:]):
        packed.write_bytes(damaged)
        with pytest.raises(InputError, match=r"small\.json\.gz: damaged gzip file"):
            placer.load(packed)


def test_unpacks_no_more_than_allowed() -> None:
    bomb = gzip.compress(bytes(10_000))
    assert len(unpacked(bomb, "bomb", 10_000)) == 10_000
    with pytest.raises(InputError, match="bomb: unpacks to more than 0 MiB"):
        unpacked(bomb, "bomb", 9_999)


def test_a_batch_finds_them(packed: Path) -> None:
    (source,) = find([packed.parent])
    assert (source.name, source.data) == ("small", PLAIN.read_bytes())
    (source,) = find([packed], limits=Limits(file_bytes=len(packed.read_bytes()) + 1))
    assert source.data is None
    assert "unpacks to more than" in source.problem
