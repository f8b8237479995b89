"""The catalogue: every figure has a source, every cluster can be built, files of users add to it."""

import math

import pytest

from placer.errors import InputError, UsageError
from placer.imports.catalogue import catalogue, find_cluster
from placer.imports.precision import PRECISIONS, WIDER
from placer.imports.roofline import effective_precision, time_ms

KNOWN = catalogue()
MINE = """
[devices.board]
kind = "accelerator"
memory_gib = 2
bandwidth_gb_per_s = 25.6
peak_tflops = { int8 = 4 }
link = "usb3"
source = "data sheet"
[clusters.desk]
classes = [
{ device = "board", count = 2, reserve = 0.25 },
{ device = "t4", name = "gpu", link = "pcie4-x16" },
]
"""


def test_every_entry_has_a_source():
    entries = [*KNOWN.devices.values(), *KNOWN.links.values()]
    assert len(entries) > 35
    known = ("https://", "assumption", "derived: ")
    assert [entry for entry in entries if not entry.source.startswith(known)] == []
    public = [d for d in KNOWN.devices.values() if d.source.startswith("https://")]
    assert len(public) == len(KNOWN.devices) - 1  # one core of a server is derived


def test_figures_are_plausible():
    """Narrower formats are no slower; memory and bandwidth are those of real devices."""
    for name, device in KNOWN.devices.items():
        peaks = [device.peak_tflops[p] for p in ("fp32", "tf32", "fp16", "int8") if p in device.peak_tflops]
        assert peaks == sorted(peaks), name
        assert 5 <= device.bandwidth_gb_per_s <= 10_000, name
        if device.kind == "accelerator":
            assert device.link in KNOWN.links, name
            assert 8 <= device.memory_gib <= 300, name


@pytest.mark.parametrize("name", KNOWN.clusters)
def test_every_cluster_can_be_built(name):
    cluster = find_cluster(name)
    assert sum(c.count for c in cluster.classes) >= 2
    assert {c.type for c in cluster.classes} == set(cluster.types)


def test_shorthand():
    cluster = find_cluster("a100:4,t4,epyc-7763:1")
    assert [(c.name, c.count, c.is_host) for c in cluster.classes] == [
        ("a100-", 4, False),
        ("t4-", 1, False),
        ("epyc-7763-", 1, True),
    ]
    assert cluster.classes[0].member(1) == "a100-1"
    assert cluster.classes[0].memory_limit_bytes == 40 * 2**30
    assert cluster.classes[1].link.bandwidth_bytes_per_s == 15.75e9
    assert cluster.classes[2].memory_limit_bytes == math.inf


def test_a_host_keeps_the_memory_that_a_file_gives_it(tmp_path):
    path = tmp_path / "mine.toml"
    host = '{ device = "epyc-7763", memory_gib = 32, reserve = 0.25 }'
    path.write_text(f'[clusters.box]\nclasses = [{{ device = "t4" }}, {host}]')
    host = find_cluster(str(path)).classes[1]
    assert (host.is_host, host.memory_limit_bytes, host.room_bytes(0)) == (True, 32 * 2**30, 24 * 2**30)


def test_files_of_users(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    for text in (str(path), f"{path}:desk"):
        board, gpu = find_cluster(text).classes
        assert (board.name, board.count, board.room_bytes(0)) == ("board", 2, 1.5 * 2**30)
        assert board.link.bandwidth_bytes_per_s == 0.5e9
        assert (gpu.name, gpu.type, gpu.link.bandwidth_bytes_per_s) == ("gpu", "t4", 31.5e9)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (('device = "board"', 'device = "plank"'), "there is no device 'plank'"),
        (('link = "usb3"', 'link = "usb9"'), "there is no link 'usb9'"),
        (('link = "usb3"', ""), "no link is given"),
        (("memory_gib = 2", "memory_gib = -2"), "devices.board.memory_gib"),
        (("memory_gib = 2", "memory = 2"), "devices.board.memory: unknown field"),
        (("int8 = 4", "fp4 = 4"), "devices.board.peak_tflops: unknown precision 'fp4'"),
        (('source = "data sheet"', ""), "devices.board.source: this field is required"),
        (("reserve = 0.25", "reserve = 1"), "reserve"),
        (('name = "gpu"', 'name = "board"'), "two classes are called 'board'"),
        (("[devices.board]", "[devices.board"), "not TOML"),
    ],
)
def test_bad_files(tmp_path, change, rule):
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace(*change))
    with pytest.raises(InputError) as error:
        find_cluster(str(path))
    assert rule in str(error.value)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("text", ["", "4xt5", "t4:x", "t4:-1", "t4;2"])
def test_unknown_clusters(text):
    with pytest.raises(UsageError, match="is no cluster of the catalogue"):
        find_cluster(text)


def test_a_file_with_several_clusters_wants_a_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE + '[clusters.other]\nclasses = [{ device = "t4" }]\n')
    with pytest.raises(UsageError, match=r"name one of its clusters \(desk, other\) as mine.toml:NAME"):
        find_cluster(str(path))
    assert find_cluster(f"{path}:other").classes[0].type == "t4"


def test_roofline_by_hand():
    """T4: 8.1 TFLOP/s at half, 320 GB/s at 0.8, and 5 µs per kernel."""
    t4 = KNOWN.devices["t4"]
    assert time_ms(t4, "fp32", 8.1e9, 0) == pytest.approx(2.005)
    assert time_ms(t4, "fp32", 1.0, 256e6) == pytest.approx(1.005)
    assert time_ms(t4, "fp16", 65e9, 256e6) == pytest.approx(2.005)


def test_a_device_computes_in_a_wider_format_where_it_lacks_one():
    v100, tpu = KNOWN.devices["v100"], KNOWN.devices["tpu-v5e"]
    used = [effective_precision("v100", v100, p) for p in PRECISIONS]
    assert used == ["fp32", "fp32", "fp16", "fp32", "fp16"]
    with pytest.raises(UsageError, match="'tpu-v5e' has no peak for fp32; it has bf16, int8"):
        effective_precision("tpu-v5e", tpu, "fp32")
    assert WIDER.keys() == PRECISIONS.keys()


def test_servers_by_name_and_in_a_file(tmp_path):
    short = find_cluster("3x2xa100@infiniband-ndr")
    (tmp_path / "mine.toml").write_text(
        '[clusters.pods]\nclasses = [{ device = "a100", count = 2 }]\n'
        'servers = { count = 3, uplink = "infiniband-ndr" }\n'
    )
    for cluster in (short, find_cluster(str(tmp_path / "mine.toml"))):
        assert [cls.count for cls in cluster.classes] == [6]
        assert [s.devices for s in cluster.servers] == [
            ("a100-0", "a100-1"),
            ("a100-2", "a100-3"),
            ("a100-4", "a100-5"),
        ]
        assert {s.uplink.bandwidth_bytes_per_s for s in cluster.servers} == {50e9}
    mixed = find_cluster("2xa100-3xt4@ethernet-10g")
    assert [cls.count for cls in mixed.classes] == [2, 6, 2]
    assert mixed.servers[1].devices == ("large1", "small3", "small4", "small5", "epyc-7763-1")
    for text in ("3x2xa100@none", "3xnone@infiniband-ndr", "2x3x2xa100@pcie4-x16@pcie4-x16"):
        with pytest.raises(UsageError):
            find_cluster(text)
