#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Watches test hosts for secrets, until it is killed; host_watch_secrets of hosts_lib.sh starts it.

usage: hosts_watch.py FOLDER DISK HOST:PID... -- [FILE...]

Round after round it reads command line and environment of every process on the hosts, and each file that was
written on them since it was last read. A secret is a private key or certificate in PEM, or a line of at least 16
characters of a FILE, which need not be there yet. A find is a line in FOLDER/found, "h2: PLACE"; FOLDER/rounds gets
a line a round. HOST:PID names the first process of each host; DISK is where the hosts' layers lie.
"""
import os
import re
import stat
import sys
import time

# Programs that write PEM contain its frame: it counts with something inside only.
PEM = re.compile(rb"-----BEGIN [A-Z ]*(PRIVATE KEY|CERTIFICATE)-----(\r?\n|\\n)[A-Za-z0-9+/]{16}")
# The worker's own program contains the test certificates of its library.
PROGRAM = re.compile(r"/bin/[0-9a-f]{64}/(mayfly-worker|\.(new|part)-[A-Za-z0-9._-]+)$")
SIZE_MAX = 4 << 20


def read(path, size=-1):
    """What is gone by now says nothing."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def secrets_of(files):
    lines = b"\n".join(read(file) for file in files).split(b"\n")
    return frozenset(line for line in lines if len(line) >= 16 and b"-----" not in line)


def has_secret(text, secrets, pem=True):
    return (pem and PEM.search(text) is not None) or any(secret in text for secret in secrets)


def space_of(pid):
    """The PID namespace of a process."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def search_processes(hosts, secrets):
    names = {space_of(pid): host for host, pid in hosts.items()}
    names.pop(None, None)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        host = names.get(space_of(pid))
        if host is None:
            continue
        for kind in "cmdline", "environ":
            if has_secret(read(f"/proc/{pid}/{kind}"), secrets):
                command = read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
                yield f"h{host}: {kind} of process {pid}: {command}"


def disks_of(disk, host, pid):
    """(where the machine sees it, what the host calls it) of each disk of a host."""
    yield f"{disk}/h{host}/upper", ""
    for line in read(f"/proc/{pid}/mountinfo").decode(errors="replace").splitlines():
        if " - tmpfs " in line:
            place = line.split()[4]
            yield f"/proc/{pid}/root{place}", place


def search_files(hosts, disk, secrets, seen):
    for host, pid in hosts.items():
        for top, name in disks_of(disk, host, pid):
            for folder, _, files in os.walk(top):
                for file in files:
                    path = os.path.join(folder, file)
                    pem = PROGRAM.search(path) is None
                    if is_new(path, secrets, seen) and has_secret(read(path, SIZE_MAX), secrets, pem):
                        yield f"h{host}: file {name}{path[len(top):]}"


def is_new(path, secrets, seen):
    """Whether it is a file of which this state was not searched for these secrets yet."""
    try:
        now = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISREG(now.st_mode) or os.path.basename(path).startswith("ssh_host_"):
        return False
    state = (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, secrets)
    if seen.get(path) == state:
        return False
    seen[path] = state
    return True


def main():
    folder, disk = sys.argv[1:3]
    border = sys.argv.index("--")
    hosts = dict(pair.split(":") for pair in sys.argv[3:border])
    seen, told = {}, set()
    while True:
        secrets = secrets_of(sys.argv[border + 1 :])
        for search in search_processes(hosts, secrets), search_files(hosts, disk, secrets, seen):
            for find in search:
                if find not in told:
                    told.add(find)
                    with open(f"{folder}/found", "a", encoding="utf-8", errors="backslashreplace") as file:
                        file.write(find + "\n")
        with open(f"{folder}/rounds", "a", encoding="utf-8") as file:
            file.write("\n")
        time.sleep(0.01)


main()
