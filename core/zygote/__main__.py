"""`python -m core.zygote <configuration as JSON>`, started by `core.zygote.process` with its socket as descriptor 3."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

import setproctitle

from core import log
from core.linux import prctl
from core.linux.rlimit import limit_open_files
from core.zygote import holes, jobs
from core.zygote.server import Server
from core.zygote.wire import CONTROL_FD


def main() -> None:
    """Load the jobs' code and fork until crispd closes the socket."""
    config = json.loads(sys.argv[1])
    log.configure(config["level"], config["style"])
    if "open_files" in config:
        limit_open_files(config["open_files"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    prctl.set_thp_disable(True)  # the first write of a child would copy 2 MiB of a shared huge page
    gc.disable()  # until all is loaded, in one go
    jobs.preload(config["jobs"])
    setproctitle.setproctitle("crisp-zygote")
    prctl.set_name("crisp-zygote")
    gc.collect()
    filler = holes.fill()
    gc.freeze()
    with socket.socket(fileno=CONTROL_FD) as control:
        Server(control, config["jobs"]).serve()
    del filler  # not before


if __name__ == "__main__":
    main()
