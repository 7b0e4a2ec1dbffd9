"""PNG pictures decoded by hand, for tests: the chunks with their checksums, the filters undone (PNG specification, 5 and 9)."""
import base64
import struct
import zlib


def decode(png):
    """(channels, rows of bytes) of an 8-bit RGB or RGBA PNG without interlace."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, kinds = 8, b"", []
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0]
        kinds.append(kind)
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert (depth, interlace) == (8, 0) and colour in (2, 6)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds[-1] == b"IEND"
    n = {2: 3, 6: 4}[colour]
    raw, stride, above, rows = zlib.decompress(packed), n * width, bytes(n * width), []
    assert len(raw) == height * (stride + 1)
    for y in range(height):
        how, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        if how == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, above))
        elif how:
            for i in range(stride):
                a, b, c = (row[i - n] if i >= n else 0), above[i], (above[i - n] if i >= n else 0)
                p = a + b - c
                best = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
                row[i] = (row[i] + (a if how == 1 else (a + b) // 2 if how == 3 else best)) & 255
        rows.append(bytes(row))
        above = row
    return n, rows


def decode_uri(uri):
    """Rows of (r, g, b) of a data URI of an RGB PNG."""
    head, data = uri.split(",", 1)
    assert head == "data:image/png;base64", head
    n, rows = decode(base64.b64decode(data, validate=True))
    assert n == 3
    return [[tuple(row[i : i + 3]) for i in range(0, len(row), 3)] for row in rows]
