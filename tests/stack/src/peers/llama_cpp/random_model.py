"""Writes `random.gguf` into a folder: a llama of 0.2 million random weights with a vocabulary of bytes, 0.6 MB.

Its text is noise; what a server counts of it is real. The format: ggml/docs/gguf.md.
"""
import array
import random
import struct
import sys

EMBED, LAYERS, HEADS, FFN, CONTEXT = 64, 2, 4, 192, 8192
U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
PACKED = {U32: "<I", I32: "<i", F32: "<f"}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack(PACKED[kind], value)


def field(key, kind, value):
    return text(key) + struct.pack("<I", kind) + scalar(kind, value)


def many(key, kind, values):
    head = text(key) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(scalar(kind, value) for value in values)


letters = [f"▁{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁"] + letters
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1
fields = [
    field("general.architecture", STRING, "llama"),
    field("general.name", STRING, "random"),
    field("general.file_type", U32, 0),
    field("llama.context_length", U32, CONTEXT),
    field("llama.embedding_length", U32, EMBED),
    field("llama.block_count", U32, LAYERS),
    field("llama.feed_forward_length", U32, FFN),
    field("llama.attention.head_count", U32, HEADS),
    field("llama.attention.head_count_kv", U32, HEADS),
    field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
    field("llama.rope.dimension_count", U32, EMBED // HEADS),
    field("llama.vocab_size", U32, len(tokens)),
    field("tokenizer.ggml.model", STRING, "llama"),
    many("tokenizer.ggml.tokens", STRING, tokens),
    many("tokenizer.ggml.scores", F32, [0.0] * 3 + [-1000.0] * 256 + [-1.0] * 27),
    many("tokenizer.ggml.token_type", I32, [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * 27),
    field("tokenizer.ggml.bos_token_id", U32, 1),
    field("tokenizer.ggml.eos_token_id", U32, 2),
    field("tokenizer.ggml.unknown_token_id", U32, 0),
    field("tokenizer.chat_template", STRING, "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"),
]

rng = random.Random(1)
tensors = []  # name, dimensions with the innermost first, values


def weight(name, rows, columns):
    values = array.array("f", (rng.gauss(0, 0.08) for _ in range(rows * columns)))
    tensors.append((name, (columns, rows), values))


def norm(name):
    tensors.append((name, (EMBED,), array.array("f", [1.0] * EMBED)))


weight("token_embd.weight", len(tokens), EMBED)
for layer in range(LAYERS):
    norm(f"blk.{layer}.attn_norm.weight")
    norm(f"blk.{layer}.ffn_norm.weight")
    for part in ("q", "k", "v", "output"):
        weight(f"blk.{layer}.attn_{part}.weight", EMBED, EMBED)
    weight(f"blk.{layer}.ffn_gate.weight", FFN, EMBED)
    weight(f"blk.{layer}.ffn_up.weight", FFN, EMBED)
    weight(f"blk.{layer}.ffn_down.weight", EMBED, FFN)
norm("output_norm.weight")
weight("output.weight", len(tokens), EMBED)


def padding(length):
    return b"\0" * (-length % 32)


head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(fields)) + b"".join(fields)
data = b""
for name, dimensions, values in tensors:
    head += text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
    head += struct.pack("<IQ", 0, len(data))
    data += values.tobytes()
    data += padding(len(data))
with open(f"{sys.argv[1]}/random.gguf", "wb") as file:
    file.write(head + padding(len(head)) + data)
