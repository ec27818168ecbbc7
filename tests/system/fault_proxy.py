#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands between workers and their master and does to their connections what networks do.

usage: fault_proxy.py SEED PORT LOG

Listens on PORT for connections that nftables sends there, and makes each its own connection to where it was meant to
go. What becomes of the n-th connection is decided by SEED and n alone: how it is delayed, after how many bytes it is
cut, or stands still in one direction or both for a while. A part of the connections are also played to the master
again, byte by byte, when they are over. Each fault is a line of LOG.
"""
import asyncio
import random
import socket
import struct
import sys

SO_ORIGINAL_DST = 80
KEPT = 1 << 20  # bytes of a connection that can be played again


class Fate:
    """What becomes of one connection."""

    def __init__(self, seed, number):
        r = random.Random(f"{seed} {number}")
        self.wait_s = r.uniform(0, 0.6) if r.random() < 0.3 else 0  # so that a later one overtakes it
        self.delay_s = r.choice([0, 0, 0.002, 0.02])
        self.cut_at = r.randrange(1, 25000) if r.random() < 0.7 else None
        self.still_at = r.randrange(3000, 12000) if r.random() < 0.4 else None
        self.still_s = r.uniform(0.3, 2.5)
        self.still_ways = r.choice([("up",), ("down",), ("up", "down")])
        self.replayed = r.random() < 0.3


class Connection:
    def __init__(self, number, fate, log):
        self.number, self.fate, self.log = number, fate, log
        self.passed = 0
        self.recorded = bytearray()
        self.writers = []
        self.still_until = None

    def say(self, text):
        print(f"connection {self.number}: {text}", file=self.log, flush=True)

    def cut(self):
        self.say(f"cut after {self.passed} bytes")
        for writer in self.writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def stand_still(self, way):
        loop = asyncio.get_running_loop()
        if self.fate.still_at is None or self.passed < self.fate.still_at or way not in self.fate.still_ways:
            return
        if self.still_until is None:
            self.still_until = loop.time() + self.fate.still_s
            self.say(f"still for {self.fate.still_s:.1f} s: {' and '.join(self.fate.still_ways)}")
        await asyncio.sleep(max(0, self.still_until - loop.time()))

    async def relay(self, reader, writer, way):
        while data := await reader.read(16384):
            if self.fate.delay_s:
                await asyncio.sleep(self.fate.delay_s)
            await self.stand_still(way)
            left = None if self.fate.cut_at is None else self.fate.cut_at - self.passed
            if left is not None and left < len(data):
                data = data[:left]
            writer.write(data)
            await writer.drain()
            self.passed += len(data)
            if way == "up" and len(self.recorded) < KEPT:
                self.recorded += data
            if left is not None and self.passed >= self.fate.cut_at:
                self.cut()
                return

    async def replay(self, address):
        """A recording proves nothing: TLS must not let a byte of it through."""
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes(self.recorded))
        got = 0
        try:
            await writer.drain()
            while data := await asyncio.wait_for(reader.read(65536), 5):
                got += len(data)
        except (OSError, asyncio.TimeoutError):
            pass
        writer.transport.abort()
        self.say(f"played again {len(self.recorded)} bytes, {got} came back")

    async def serve(self, reader, writer):
        raw = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        address = socket.inet_ntoa(raw[4:8]), struct.unpack("!H", raw[2:4])[0]
        self.writers.append(writer)
        if self.fate.wait_s:
            self.say(f"waits for {self.fate.wait_s:.1f} s")
            await asyncio.sleep(self.fate.wait_s)
        try:
            onward = await asyncio.open_connection(*address)
            self.writers.append(onward[1])
            tasks = [asyncio.ensure_future(self.relay(reader, onward[1], "up")),
                     asyncio.ensure_future(self.relay(onward[0], writer, "down"))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        for each in self.writers:
            each.close()
        if self.fate.replayed and self.recorded:
            try:
                await self.replay(address)
            except OSError:
                pass


async def main(seed, port, log):
    number = 0

    async def accepted(reader, writer):
        nonlocal number
        number += 1
        await Connection(number, Fate(seed, number), log).serve(reader, writer)

    server = await asyncio.start_server(accepted, "0.0.0.0", port, backlog=256)
    print("listening", file=log, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with open(sys.argv[3], "w", encoding="utf-8") as log_file:
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), log_file))
