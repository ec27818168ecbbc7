#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service manager's ear: hear.py SOCKET LOG appends each line that is said there to LOG, until it is killed."""
import os
import socket
import sys

ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.bind(sys.argv[1] + ".new")
os.rename(sys.argv[1] + ".new", sys.argv[1])  # there is a socket only when somebody listens
with open(sys.argv[2], "a", buffering=1) as log:
    while True:
        log.write(ear.recv(65536).decode() + "\n")
