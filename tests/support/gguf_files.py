"""Writing small GGUF files: the header, and no weights."""

import struct

TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q6_K": (14, 256, 210),
}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(given):
    """A value with its type before it."""
    if isinstance(given, bool):
        return struct.pack("<I?", 7, given)
    if isinstance(given, int):
        return struct.pack("<II", 4, given)
    if isinstance(given, float):
        return struct.pack("<If", 6, given)
    if isinstance(given, str):
        return struct.pack("<I", 8) + text(given)
    if given and isinstance(given[0], str):
        return struct.pack("<IIQ", 9, 8, len(given)) + b"".join(map(text, given))
    return struct.pack("<IIQ", 9, 5, len(given)) + struct.pack(f"<{len(given)}i", *given)


def header(metadata, tensors, version=3):
    """The header: tensors are ``(name, shape outermost first, type)``."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, given in metadata.items():
        out += text(key) + value(given)
    offset = 0
    for name, shape, kind in tensors:
        number, block, size = TYPES[kind]
        out += text(name) + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}Q", *shape[::-1]) + struct.pack("<IQ", number, offset)
        elements = 1
        for n in shape:
            elements *= n
        offset += -(-elements // block * size // 32) * 32
    return out


def llama(layers=2, width=256, inner=512, heads=4, kv=2, vocabulary=1024, kind="Q4_K", architecture="llama"):
    """Metadata and tensors of a small Llama with tied embeddings."""
    size = width // heads
    metadata = {
        "general.architecture": architecture,
        "general.name": "Small",
        f"{architecture}.block_count": layers,
        f"{architecture}.context_length": 512,
        f"{architecture}.embedding_length": width,
        f"{architecture}.feed_forward_length": inner,
        f"{architecture}.attention.head_count": heads,
        f"{architecture}.attention.head_count_kv": kv,
        "tokenizer.ggml.tokens": [f"t{i}" for i in range(vocabulary)],
        "tokenizer.ggml.token_type": list(range(vocabulary * 5)),
    }
    tensors = [("token_embd.weight", (vocabulary, width), "Q6_K"), ("output_norm.weight", (width,), "F32")]
    for n in range(layers):
        tensors += [
            (f"blk.{n}.attn_norm.weight", (width,), "F32"),
            (f"blk.{n}.attn_q.weight", (width, width), kind),
            (f"blk.{n}.attn_k.weight", (kv * size, width), kind),
            (f"blk.{n}.attn_v.weight", (kv * size, width), "Q6_K"),
            (f"blk.{n}.attn_output.weight", (width, width), kind),
            (f"blk.{n}.ffn_norm.weight", (width,), "F32"),
            (f"blk.{n}.ffn_gate.weight", (inner, width), kind),
            (f"blk.{n}.ffn_up.weight", (inner, width), kind),
            (f"blk.{n}.ffn_down.weight", (width, inner), "Q6_K"),
        ]
    return metadata, tensors
