"""Short names: told apart, never longer, the same for whatever order; a long model in little time."""

import random
import time

import pytest

from placer.instance.short_names import LIMIT, short_names


def layers(count):
    parts = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.core.scaled_dot_product",
        "mlp.down_proj",
        "input_layernorm",
    )
    return tuple(f"model.layers.{i}.{part}" for i in range(count) for part in parts)


ACCENTED = "e\u0301" * 20

ADVERSARIAL = {
    "prefixes of each other": tuple("abc/defgh." * k for k in range(1, 40)),
    "suffixes of each other": tuple("/".join(map(str, range(k, 60))) for k in range(60)),
    "numbers in the middle": tuple(f"{'x' * 40}{i}{'y' * 40}" for i in range(300)),
    "leading zeros": tuple(f"decoder/block/{'0' * i}7/projection/MatMul" for i in range(9)),
    "one letter in the middle": tuple(f"{'x' * 40}{c}{'y' * 40}" for c in "abcdefghij"),
    "separators alone": tuple(c * k for c in "/.:" for k in range(1, 60)),
    "a short form as a name": (
        "encoder/attention/self/query/MatMul/7",
        "…7",
        "…MatMul/7",
        "…query/MatMul/7",
        "…self/query/MatMul/7",
        "encoder/attention/self/key/MatMul/7",
    ),
    "unicode": (
        *(f"모델/레이어.{i}/注意力机制/{ACCENTED}/вы{c}ход" for i in range(9) for c in "аб\u0301"),
        *("👩\u200d🚀" * k for k in (20, 21)),
        *("\u0301" * k for k in (50, 51)),
    ),
    "empty": ("", "a" * 80, ""),
}


def held(names):
    short = short_names(names)
    assert set(short) == set(names)
    assert len(set(short.values())) == len(set(names))
    assert all(len(form) <= len(name) for name, form in short.items())
    assert all(form == name for name, form in short.items() if len(name) <= LIMIT)
    return short


@pytest.mark.parametrize("names", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_different_names_stay_different(names):
    short = held(names)
    assert short_names(tuple(reversed(names))) == short


def test_random_names_stay_different():
    draw = random.Random(5)
    for _ in range(60):
        letters = draw.choice(("a.", "ab01/.", "ab\u0301…/", "x7:_"))
        count, longest = draw.randint(1, 60), draw.choice((30, 60, 200))
        names = ["".join(draw.choices(letters, k=draw.randint(0, longest))) for _ in range(count)]
        short = held(tuple(names))
        draw.shuffle(names)
        assert short_names(tuple(names)) == short


def test_layers_are_shortened_alike_and_fit():
    short = held(layers(80))
    assert short["model.layers.7.self_attn.q_proj"] == "…7.self_attn.q_proj"
    assert short["model.layers.79.self_attn.q_proj"] == "…79.self_attn.q_proj"
    assert short["model.layers.3.mlp.down_proj"].endswith("3.mlp.down_proj")
    assert max(map(len, short.values())) <= LIMIT


def test_what_says_nothing_goes_first():
    names = tuple(f"net/{a}/wrapped/inner/{b}/Convolution" for a in ("left", "right") for b in ("up", "down"))
    assert held(names)["net/right/wrapped/inner/down/Convolution"] == "…right/…down/Convolution"


def test_names_keep_what_tells_them_apart():
    names = ("attention/query/projection/bias", "attention/value/projection/bias")
    assert held(names) == {name: f"…{name.removeprefix('attention/')}" for name in names}


def test_accents_stay_with_their_letters():
    short = held((ACCENTED,))[ACCENTED]
    head, tail = short.split("…")
    assert set(head[::2]) == {"e"}
    assert tail[0] == "e"
    assert head.endswith("\u0301")


def test_ten_thousand_names_take_little_time():
    names = layers(2000)
    start = time.process_time()
    held(names)
    assert time.process_time() - start < 5
