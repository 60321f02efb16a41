"""mend_segments.py PROGRAM...: some programs in the wheel die before main(). The tool that rewrote them
left their dynamic section, into which the loader writes, on a page of a read-only segment. This makes
every segment on the dynamic section's pages writable."""

import struct
import sys

PAGE = 4096
LOAD, DYNAMIC = 1, 2
WRITABLE = 2


def segments(file):
    """Place in the file, kind, rights, first and last page of each segment."""
    file.seek(0)
    header = file.read(64)
    if header[:6] != b"\x7fELF\x02\x01":
        return
    table, = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    for place in range(table, table + size * count, size):
        file.seek(place)
        kind, rights, _, address, _, _, length, _ = struct.unpack("<IIQQQQQQ", file.read(56))
        yield place, kind, rights, address // PAGE, (address + length - 1) // PAGE


def mend(program):
    with open(program, "r+b") as file:
        found = list(segments(file))
        for _, kind, _, first, last in found:
            if kind != DYNAMIC:
                continue
            for place, kind, rights, start, end in found:
                if kind == LOAD and start <= last and end >= first:
                    file.seek(place + 4)
                    file.write(struct.pack("<I", rights | WRITABLE))


for program in sys.argv[1:]:
    mend(program)
