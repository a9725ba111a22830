"""ICC profiles, put together byte by byte (ICC.1:2001), so that no library is its own judge."""

import struct


def make_profile(space=b"RGB ", gamma=2.19921875, primaries=None):
    """An ICC profile of matrix and curves, or of a grey curve."""

    def fixed(value):
        return struct.pack(">i", round(value * 65_536))

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0" + bytes(3),
        b"wtpt": xyz((0.9642, 1, 0.8249)),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        # Adobe RGB (1998), adapted to D50.
        primaries = primaries or [
            (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
        ]  # fmt: skip
        for name, values in zip((b"r", b"g", b"b"), primaries, strict=True):
            tags[name + b"XYZ"], tags[name + b"TRC"] = xyz(values), curve
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    white = fixed(0.9642) + fixed(1) + fixed(0.8249)
    return (head.ljust(36, b"\0") + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


ADOBE = make_profile()
