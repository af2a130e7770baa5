"""Runs a Milvus server until its standard input ends; started by the tests in its own environment.

Says ``port N`` when it answers. All it writes is in the folder given.
"""

from __future__ import annotations

import sys

from milvus import MilvusServer

server = MilvusServer()
server.set_base_dir(sys.argv[1])
with server:
    print("port", server.listen_port, flush=True)
    sys.stdin.read()
