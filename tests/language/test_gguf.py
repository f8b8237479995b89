"""Headers of GGUF files: exact bytes by type, parts, and files that lie."""

import struct
from contextlib import suppress

import pytest

from placer.errors import InputError
from placer.language.configuration import language_model
from placer.language.gguf import read_gguf
from placer.language.gguf_header import TYPES, read_header
from placer.language.language_model import BlockKind
from tests.support.gguf_files import header, llama, text


@pytest.fixture
def write(tmp_path):
    def written(metadata, tensors, name="small.gguf"):
        path = tmp_path / name
        path.write_bytes(header(metadata, tensors))
        return path

    return written


def test_small_llama(write):
    model = read_gguf(write(*llama()))
    assert (model.name, model.architecture, model.layers, model.vocabulary) == ("Small", "llama", 2, 1024)
    same = {
        "model_type": "llama",
        "vocab_size": 1024,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    twin = language_model(same)
    assert model.parameters == twin.parameters
    assert model.cached_numbers(100) == twin.cached_numbers(100) == 2 * 2 * 2 * 64 * 100
    assert model.flops(7, 100) == twin.flops(7, 100)
    assert [b.kind for b in model.blocks] == [b.kind for b in twin.blocks]
    assert model.max_tokens == 512
    four, six = 144 / 256, 210 / 256
    layer = 2 * 256 * 4 + four * 256 * (256 + 128 + 256 + 512 + 512)
    layer += six * 256 * (128 + 512)
    assert model.weight_bytes == six * 1024 * 256 + 256 * 4 + 2 * layer


def test_head_of_its_own(write):
    metadata, tensors = llama()
    tied = read_gguf(write(metadata, tensors))
    own = read_gguf(write(metadata, [*tensors, ("output.weight", (1024, 256), "F16")]))
    assert own.parameters == tied.parameters + 1024 * 256
    assert own.blocks[-1].weight_bytes == 2 * 1024 * 256 + 4 * 256


def mixture(write, **changes):
    metadata, tensors = llama(architecture="qwen2moe")
    metadata |= {"qwen2moe.expert_count": 4, "qwen2moe.expert_used_count": 2} | changes
    tensors = [t for t in tensors if "ffn_" not in t[0] or "ffn_norm" in t[0]]
    for n in range(2):
        tensors += [
            (f"blk.{n}.ffn_gate_inp.weight", (4, 256), "F32"),
            (f"blk.{n}.ffn_gate_exps.weight", (4, 512, 256), "Q4_K"),
            (f"blk.{n}.ffn_down_exps.weight", (4, 256, 512), "Q8_0"),
            (f"blk.{n}.ffn_up_exps.weight", (4, 512, 256), "Q4_K"),
            (f"blk.{n}.ffn_gate_inp_shexp.weight", (256,), "F32"),
            (f"blk.{n}.ffn_gate_shexp.weight", (256, 256), "F16"),
            (f"blk.{n}.ffn_up_shexp.weight", (256, 256), "F16"),
            (f"blk.{n}.ffn_down_shexp.weight", (256, 256), "F16"),
        ]
    return write(metadata, tensors)


def test_experts(write):
    model = read_gguf(mixture(write))
    kinds = [str(b.kind) for b in model.blocks]
    assert kinds == ["embedding", *(["attention", "router", "shared experts", "experts"] * 2), "head"]
    experts = next(b for b in model.blocks if b.kind is BlockKind.EXPERTS)
    assert experts.weight_bytes == 4 * 512 * 256 * (2 * 144 / 256 + 34 / 32)
    assert experts.flops(1, 1) == 2 * 2 * 3 * 512 * 256
    assert (experts.experts.count, experts.experts.active) == (4, 2)
    with pytest.raises(InputError, match=r"blk\.0: not the weights of 8 experts"):
        read_gguf(mixture(write, **{"qwen2moe.expert_count": 8}))


def latent(write, *, split):
    """DeepSeek: keys and values of 32 numbers compressed and 16 turned, in old files expanded when cached."""
    base, tensors = llama(architecture="deepseek2", heads=4)
    metadata = {k: v for k, v in base.items() if "head_count_kv" not in k}
    metadata |= {
        "deepseek2.attention.kv_lora_rank": 32,
        "deepseek2.rope.dimension_count": 16,
        "deepseek2.attention.key_length": 48,
        "deepseek2.attention.value_length": 64,
    }
    tensors = [t for t in tensors if not any(f"attn_{x}." in t[0] for x in "qkv")]
    for n in range(2):
        tensors += [
            (f"blk.{n}.attn_q.weight", (4 * 48, 256), "F16"),
            (f"blk.{n}.attn_kv_a_mqa.weight", (48, 256), "F16"),
            (f"blk.{n}.attn_kv_a_norm.weight", (32,), "F32"),
        ]
        if split:
            tensors.append((f"blk.{n}.attn_k_b.weight", (4, 32, 32), "F16"))
            tensors.append((f"blk.{n}.attn_v_b.weight", (4, 64, 32), "F16"))
        else:
            tensors.append((f"blk.{n}.attn_kv_b.weight", (4 * (32 + 64), 32), "F16"))
    return read_gguf(write(metadata, tensors))


def test_latent_attention(write):
    new, old = latent(write, split=True), latent(write, split=False)
    assert new.parameters == old.parameters
    assert new.cached_numbers(1) == 2 * (32 + 16)
    assert old.cached_numbers(1) == 2 * 4 * (48 + 64)


def test_gate_and_up_in_one(write):
    metadata, tensors = llama(architecture="phi3")
    tensors = [t for t in tensors if "ffn_gate" not in t[0] and "ffn_up" not in t[0]]
    tensors += [(f"blk.{n}.ffn_up.weight", (1024, 256), "Q4_K") for n in range(2)]
    model = read_gguf(write(metadata, tensors))
    assert model.parameters == read_gguf(write(*llama())).parameters
    assert model.blocks[2].role("ffn_gate_up") is not None


def test_windows(write):
    metadata, tensors = llama(layers=6, architecture="gemma3")
    model = read_gguf(write(metadata | {"gemma3.attention.sliding_window": 8}, tensors))
    assert [b.attention.window for b in model.blocks if b.attention] == [8] * 5 + [None]


def test_heads_of_each_layer(write):
    metadata, tensors = llama()
    tensors = [(n, (64, 256), k) if n == "blk.1.attn_k.weight" else (n, s, k) for n, s, k in tensors]
    tensors = [(n, (64, 256), k) if n == "blk.1.attn_v.weight" else (n, s, k) for n, s, k in tensors]
    model = read_gguf(write(metadata | {"llama.attention.head_count_kv": [2, 1]}, tensors))
    assert [b.attention.kv_heads for b in model.blocks if b.attention] == [2, 1]


def test_parts(write):
    metadata, tensors = llama()
    first = write(metadata, tensors[:8], "m-00001-of-00002.gguf")
    with pytest.raises(InputError, match=r"other parts are missing: m-00002-of-00002\.gguf"):
        read_gguf(first)
    second = write({"split.no": 1}, tensors[8:], "m-00002-of-00002.gguf")
    whole = read_gguf(write(metadata, tensors))
    assert read_gguf(first) == read_gguf(second) == whole
    write({"split.no": 1}, tensors[7:], "m-00002-of-00002.gguf")
    with pytest.raises(InputError, match="is there twice"):
        read_gguf(first)


def test_further_layers_are_left_out(write):
    metadata, tensors = llama(layers=3, architecture="glm4moe")
    plain = read_gguf(write(metadata, tensors))
    model = read_gguf(write(metadata, [*tensors, ("blk.2.nextn.eh_proj.weight", (256, 512), "F16")]))
    assert model.layers == 2 < plain.layers
    assert any("MTP" in note for note in model.notes)


# -- files that lie ---------------------------------------------------------------------------------


def test_every_cut(write, tmp_path):
    """A file that ends within its header is refused in one line, wherever it ends."""
    metadata, tensors = llama(layers=1, vocabulary=40, width=256)
    whole = header(metadata, tensors)
    path = tmp_path / "cut.gguf"
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut\.gguf: "):
            read_header(path)


def test_random_damage(tmp_path):
    """Whatever bytes change: a model or one line."""
    import random

    whole = header(*llama(layers=1, vocabulary=40))
    path = tmp_path / "damaged.gguf"
    for seed in range(2000):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(InputError):
            assert read_gguf(path).parameters > 0


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "ends within its header"),
        (b"PK\3\4" + b"\0" * 40, "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1 is not known"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "tensors are too many"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "keys are too many"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "letters are too many"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 77), "type 77 are not known"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 3),
            "arrays of type 9 are not known",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 0, 2**50),
            "items are too many",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 0, 2**22),
            "ends within its header",
        ),
        (header({"a": 1}, []) + b"", "architecture None is not known"),
        (header({"general.architecture": "mamba"}, []), "the architecture 'mamba' is not known"),
        (header({"general.architecture": "llama"}, []), "missing: block_count, embedding_length"),
        (header({}, [("t", (2**30, 2**30), "F32")]), "impossible shape"),
        (header({}, [("t", (4, 100), "Q4_K")]), "impossible shape"),
    ],
)
def test_what_is_no_model(tmp_path, data, rule):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rule):
        read_gguf(path)


def changed(tensors, name, shape):
    return [(n, shape if n == name else s, "F32" if n == name else k) for n, s, k in tensors]


@pytest.mark.parametrize(
    ("metadata", "tensors", "rule"),
    [
        ({"llama.block_count": 3}, lambda t: t, "tensors of 2 layers, not of 3"),
        ({}, lambda t: t[1:], r"token_embd\.weight': no table of tokens"),
        ({}, lambda t: [*t, ("blk.0.ssm_in.weight", (4, 4), "F32")], r"blk\.0\.ssm_in\.weight.*not known"),
        ({}, lambda t: [*t, ("v.patch.weight", (4, 4), "F32")], r"v\.patch\.weight.*not known"),
        ({}, lambda t: changed(t, "blk.1.attn_q.weight", (128, 256)), r"blk\.1\.attn_q.*128 numbers.*256"),
        ({}, lambda t: [x for x in t if x[0] != "blk.0.attn_output.weight"], r"blk\.0: missing: attn_output"),
        ({}, lambda t: [x for x in t if x[0] != "blk.0.ffn_down.weight"], r"blk\.0: missing: ffn_down"),
        ({}, lambda t: [x for x in t if "attn_q" not in x[0]], r"blk\.0: no queries"),
        ({"llama.attention.head_count": 0}, lambda t: t, r"attention\.head_count: expected a whole number"),
        ({"llama.attention.head_count": "4"}, lambda t: t, r"attention\.head_count: expected a whole number"),
        ({"general.architecture": "llame"}, lambda t: t, "did you mean 'llama'"),
    ],
)
def test_models_that_do_not_add_up(write, metadata, tensors, rule):
    own, found = llama()
    with pytest.raises(InputError, match=rule):
        read_gguf(write(own | metadata, tensors(found)))


def test_vocabularies_are_passed_over(tmp_path):
    """A vocabulary of 128,000 does not stay in memory."""
    metadata, tensors = llama(vocabulary=128_000)
    path = tmp_path / "large.gguf"
    path.write_bytes(header(metadata, tensors))
    assert read_header(path).metadata["tokenizer.ggml.tokens"] is None
    assert read_gguf(path).vocabulary == 128_000


def test_types_are_those_of_the_package():
    constants = pytest.importorskip("gguf.constants", reason="gguf is not installed")
    theirs = {int(t): (t.name, *constants.GGML_QUANT_SIZES[t]) for t in constants.GGMLQuantizationType}
    assert theirs.items() <= TYPES.items()


def test_the_package_reads_the_same(write, tmp_path):
    """What its writer writes, our reader reads."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    import numpy as np

    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), dtype=np.float16))
    packed = gguf.quants.quantize(np.zeros((8, 32), dtype=np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = {t.name: t for t in read_header(path).tensors}
    assert found["output.weight"].shape == (8, 32)
    assert found["output.weight"].size_bytes == packed.nbytes == 8 * 34
