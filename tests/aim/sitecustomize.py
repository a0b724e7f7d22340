"""Kills a process at a chosen moment: Python imports this file at its start, if it is on the path.

The environment variable AIM holds the moment as json. Python reports each file that is opened,
renamed or deleted, and each process that is started, to audit hooks before it does it; so a kill
falls before, or after a number of writes to the file, while what is buffered is not yet there.
"""

import json
import os
import re
import signal
import sys


def aim(event, path, skip, writes, signal_name, group, hit):
    """Kills this process at an event on a path, after some earlier ones and some writes."""
    pattern = re.compile(path)

    def fire():
        sys.setprofile(None)
        open(hit, "w").close()
        os.killpg(0, number) if group else os.kill(os.getpid(), number)

    def count_writes(frame, what, function):
        nonlocal writes
        if what == "c_return" and function.__name__ in ("write", "sendfile"):
            writes -= 1
            if writes == 0:
                fire()

    def watch(name, arguments):
        nonlocal skip
        if name != event or skip < 0 or not pattern.search(described(name, arguments)):
            return
        skip -= 1
        if skip < 0:
            sys.setprofile(count_writes) if writes else fire()

    number = getattr(signal, signal_name)
    sys.addaudithook(watch)


def described(name, arguments):
    """Returns what an event is about: a command, or the path that is written to."""
    if name == "subprocess.Popen":
        return " ".join(map(str, arguments[1]))
    if name == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return ""
    path = arguments[1] if name == "os.rename" else arguments[0]
    return "" if isinstance(path, int) else os.fsdecode(path)


if "AIM" in os.environ:
    moment = json.loads(os.environ["AIM"])
    # DVC tells its stages which they are.
    if moment.pop("in_stage") == ("DVC_STAGE" in os.environ):
        aim(**moment)
