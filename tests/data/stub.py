#!/usr/bin/env python3
"""The stub vector as docs/messages.md specifies it, in another language; prints its test vectors."""
import hashlib
import struct


def stub(data: bytes, dimensions: int) -> list[float]:
    seed = hashlib.sha256(data).digest()
    words = []
    counter = 0
    while len(words) < dimensions:
        words += struct.unpack(">8I", hashlib.sha256(seed + struct.pack(">I", counter)).digest())
        counter += 1
    values = [word / 2**32 for word in words[:dimensions]]
    mean = sum(values) / dimensions
    centred = [value - mean for value in values]
    norm = sum(value * value for value in centred) ** 0.5
    return [value / norm for value in centred]


if __name__ == "__main__":
    for data in [b"a", b"not a picture", bytes(range(256))]:
        vector = stub(data, 512)
        print(hashlib.sha256(data).hexdigest()[:8], [round(v, 8) for v in vector[:4]], round(vector[511], 8))
