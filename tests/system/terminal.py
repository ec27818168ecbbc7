#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a terminal of its own and types each ANSWER when it has asked once more.

usage: terminal.py LOG PROMPT ANSWER... -- COMMAND...
LOG gets all that the terminal showed. An answer of ^C is typed as such. The exit code is the command's."""
import os
import pty
import sys

log_path, prompt = sys.argv[1], sys.argv[2].encode()
split = sys.argv.index("--")
answers, command = sys.argv[3:split], sys.argv[split + 1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
shown, seen = b"", 0
with open(log_path, "wb", buffering=0) as log:
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        log.write(piece)
        shown += piece
        while answers and shown.find(prompt, seen) >= 0:
            seen = shown.find(prompt, seen) + len(prompt)
            answer = answers.pop(0)
            os.write(terminal, b"\x03" if answer == "^C" else answer.encode() + b"\n")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
