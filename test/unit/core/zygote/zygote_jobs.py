"""Jobs for test_zygote_process.py, run in children of a real zygote."""

import os
import signal
import time

from core.errdefs import NotFound


def echo(args, fds, report):
    for number in range(args.get("progress", 0)):
        report({"number": number})
    return {"args": dict(args), "pid": os.getpid(), "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))}


def read(args, fds, report):
    return {"text": os.read(fds[0], 100).decode(), "count": len(fds)}


def fail(args, fds, report):
    raise NotFound("layer 7") if args.get("known") else ZeroDivisionError("by zero")


def die(args, fds, report):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(args, fds, report):
    report({"pid": os.getpid()})
    signal.pause()


def linger(arguments, fds):
    """Tells where it is through its descriptor, then stays until that is closed at the other end."""
    os.write(fds[0], f"{os.getpid()} {os.getsid(0)}".encode())
    while os.read(fds[0], 1):
        time.sleep(0)
    return 0


WARMED = []


def warm_up():
    WARMED.append(os.getpid())


def warmed(args, fds, report):
    return {"pids": WARMED}
