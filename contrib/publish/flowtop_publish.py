#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads the table that `flowtop --publish FILE` keeps: cumulative network counters of processes.

    from flowtop_publish import Table

    table = Table("/run/flowtop/processes")
    header, processes = table.read()
    for process in processes:
        print(process.pid, process.name, process.rx_bytes, process.tx_bytes)

As a program it prints the processes of a table as JSON Lines. docs/PUBLISH.md describes the layout.
"""

import json
import mmap
import struct
import sys
import time
from typing import NamedTuple

VERSION = 1
HEADER = struct.Struct("=8sIIIIQQIIIIQQQQQQQQQ")
ROW = struct.Struct("=IIQQQQQ16s")


class Header(NamedTuple):
    magic: bytes
    version: int
    header_size: int
    row_size: int
    rows: int
    generation: int
    updated_ns: int
    publisher_pid: int
    running: int
    used: int
    reserved: int
    rx_bytes: int
    tx_bytes: int
    rx_msgs: int
    tx_msgs: int
    evicted_rx_bytes: int
    evicted_tx_bytes: int
    untracked_rx_bytes: int
    untracked_tx_bytes: int
    missed_events: int


class Process(NamedTuple):
    """Counters of a process; pid and start_ns identify it. Its name is its own choice: print it escaped."""

    pid: int
    start_ns: int
    rx_bytes: int
    tx_bytes: int
    rx_msgs: int
    tx_msgs: int
    name: str


class Table:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        header = self._header() if len(self.map) >= HEADER.size else None
        if header is None or (header.magic, header.version) != (b"flowtopP", VERSION):
            raise ValueError(f"{path} is not a table of flowtop that this reader knows")

    def _header(self):
        return Header(*HEADER.unpack_from(self.map))

    def read(self):
        """The header and all processes of one moment. If `running` is 0, open the path again."""
        for _ in range(1000):
            before = self._header()
            if before.generation & 1:
                time.sleep(0.0001)
                continue
            end = before.header_size + before.used * before.row_size
            rows = self.map[before.header_size:end]
            if self._header() == before:
                return before, [self._process(row) for row in ROW.iter_unpack(rows)]
        raise BlockingIOError("flowtop was writing at each try: try later, or open the path again")

    @staticmethod
    def _process(row):
        pid, _, start, rx, tx, rx_msgs, tx_msgs, name = row
        return Process(pid, start, rx, tx, rx_msgs, tx_msgs, name.split(b"\0")[0].decode(errors="replace"))


if __name__ == "__main__":
    for process in Table(sys.argv[1]).read()[1]:
        print(json.dumps(process._asdict()))
