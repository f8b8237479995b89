"""Files and folders that appear whole or not at all."""

import pytest

from placer.errors import InputError
from placer.formats.replace import replaced_file, replaced_folder, write_text


def half(path):
    """Write something, and fail."""
    (path / "part" if path.is_dir() else path).write_text("half")
    (path / "absent" / "x").read_text()


@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_failure_leaves_nothing(tmp_path, replaced):
    """And an error of the writer stays what it is: not every OSError is about the file to be written."""
    with pytest.raises((FileNotFoundError, NotADirectoryError)), replaced(tmp_path / "x") as path:
        half(path)
    assert list(tmp_path.iterdir()) == []


def test_folders_appear_whole(tmp_path):
    with replaced_folder(tmp_path / "x") as path:
        (path / "a").write_text("1")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x" / "a").read_text() == "1"
    assert (tmp_path / "x").stat().st_mode & 0o700 == 0o700


def test_what_is_there_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("1")
    for name, match in (("file", "a file of this name"), ("full", "not empty")):
        with pytest.raises(InputError, match=match), replaced_folder(tmp_path / name):
            pass


def test_paths_that_are_none(tmp_path):
    for path in ("\0", tmp_path, tmp_path / "absent" / "x"):
        with pytest.raises(InputError):
            write_text(path, "x")
