"""Files, folders, globs and archives; nothing leaves an archive, and nothing in it is too large."""

import io
import os
import tarfile
import zipfile

import pytest

from placer.errors import UsageError
from placer.studies.batch.sources import Limits, find

SMALL = Limits(members=6, file_bytes=100, archive_bytes=250)


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                (info.type,), info.linkname = content, "/etc/passwd"
                archive.addfile(info)
    return path


def seen(*paths, **more):
    """What is found: the end of its place, its bytes or the problem."""
    return [
        (s.where.rpartition("/")[2], s.data if s.data is not None else s.problem) for s in find(paths, **more)
    ]


def test_files_folders_and_globs(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("a/2.json", "a/1.json", "a/b/3.JSON", "a/note.txt", "a/.hidden.json", "out/4.json"):
        (tmp_path / name).write_text(name)
    zipped(tmp_path / "a" / "z.zip", {"5.json": b"five", "5.txt": b"no"})
    inside = [
        ("1.json", b"a/1.json"),
        ("2.json", b"a/2.json"),
        ("5.json", b"five"),
        ("3.JSON", b"a/b/3.JSON"),
    ]
    assert seen(tmp_path, without=tmp_path / "out") == inside
    assert seen(tmp_path / "a", tmp_path / "a" / "1.json") == inside
    assert seen(str(tmp_path / "*" / "[24].json")) == [("2.json", b"a/2.json"), ("4.json", b"out/4.json")]
    assert seen(tmp_path / "a" / "note.txt") == [("note.txt", b"a/note.txt")]
    assert [s.explicit for s in find([tmp_path / "a" / "1.json", tmp_path / "a" / "b"])] == [True, False]


@pytest.mark.parametrize("path", ["nothing.json", "*.json", "."])
def test_nothing_is_an_error(tmp_path, path):
    with pytest.raises(UsageError, match=r"there is no such|no \.json file"):
        list(find([tmp_path / path]))


def test_folders_without_files_of_their_own_are_walked_in_order(tmp_path, monkeypatch):
    walk = os.walk

    def backwards(top):
        for at, folders, names in walk(top):
            folders.sort(reverse=True)
            yield at, folders, names

    monkeypatch.setattr(os, "walk", backwards)
    for name in "cab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(name)
    assert [data for _, data in seen(tmp_path)] == [b"a", b"b", b"c"]


def test_broken_links_and_special_files(tmp_path):
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert seen(tmp_path) == [("gone.json", "No such file or directory")]
    assert seen("/dev/zero") == [("zero", "it is no regular file")]


def test_zip_members_stay_inside(tmp_path):
    link = zipfile.ZipInfo("link.json")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good/a.json", b"a")
        archive.writestr("../../b.json", b"b")
        archive.writestr("/etc/c.json", b"c")
        archive.writestr("C:\\d.json", b"d")
        archive.writestr(link, "/etc/passwd")
    leaves = "its path leads out of the archive"
    assert [(s.data, s.problem) for s in find([path])] == [
        (b"a", ""),
        (None, leaves),
        (None, leaves),
        (None, leaves),
        (None, "it is a link or a device"),
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip"}


def test_tar_members_stay_inside(tmp_path):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    members = {f"{i}.json": (kind,) for i, kind in enumerate(kinds)} | {"../up.json": b"u", "a.json": b"a"}
    path = tarred(tmp_path / "x.tar.gz", members)
    refused = [(f"{i}.json", "it is a link or a device") for i in range(4)]
    assert seen(path) == [*refused, ("up.json", "its path leads out of the archive"), ("a.json", b"a")]


@pytest.mark.parametrize(("make", "ending"), [(zipped, "zip"), (tarred, "tgz")])
def test_sizes_are_limited(tmp_path, make, ending):
    large = {"large.json": b"x" * 10_000}
    assert seen(make(tmp_path / f"large.{ending}", large), limits=SMALL)[0] == (
        "large.json",
        "it is larger than 0 MiB",
    )
    many = {f"{i}.json": b"x" for i in range(20)}
    found = seen(make(tmp_path / f"many.{ending}", many), limits=SMALL)
    assert len(found) == 7
    assert found[-1][1].startswith("it has more than 6 members")
    total = {f"{i}.json": b"x" * 90 for i in range(5)}
    found = seen(make(tmp_path / f"total.{ending}", total), limits=SMALL)
    assert [data for _, data in found[:3]] == [b"x" * 90] * 3
    assert found[3:] == [(f"total.{ending}", "it unpacks to more than 0 MiB; the rest is left out")]


def test_a_bomb_in_a_member_that_is_no_instance(tmp_path):
    path = tarred(tmp_path / "x.tar.gz", {"bomb.bin": b"\0" * 10_000, "a.json": b"a"})
    assert seen(path, limits=SMALL) == [("x.tar.gz", "it unpacks to more than 0 MiB; the rest is left out")]


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
@pytest.mark.parametrize("damage", ["cut", "nonsense", "flipped"])
def test_damaged_archives(tmp_path, ending, damage):
    make = zipped if ending == "zip" else tarred
    path = make(tmp_path / f"x.{ending}", {"a.json": bytes(range(90)), "b.json": b"b" * 90})
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        for at in range(40, len(data), 3):
            data[at] ^= 0x55
    path.write_bytes(
        b"nonsense" if damage == "nonsense" else data[: len(data) // 2] if damage == "cut" else data
    )
    found = list(find([path]))
    assert any(s.problem for s in found)
    assert all(len(s.problem.splitlines()) <= 1 for s in found)


def test_encrypted_members_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.json": b"a"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert seen(path) == [("a.json", "it is encrypted")]
