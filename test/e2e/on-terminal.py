"""Runs a command on a terminal of its own and types when it has printed something.

argv[1]: JSON list of [text to wait for, keys to type]; the rest is the command.
Prints JSON: output, exitCode (128 + signal when killed), msAfterKeys (from the last keys to the end).
"""
import json
import os
import pty
import select
import sys
import time

LIMIT_S = 60

steps = json.loads(sys.argv[1])
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])

output = b""
typed_at = None
seen = 0
deadline = time.monotonic() + LIMIT_S
timed_out = False
while True:
    if time.monotonic() > deadline:
        timed_out = True
        os.kill(pid, 9)
        break
    ready, _, _ = select.select([fd], [], [], 0.05)
    if ready:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # Linux's way to say that the terminal is closed
            break
        if not chunk:
            break
        output += chunk
    while steps and steps[0][0].encode() in output[seen:]:
        seen = output.index(steps[0][0].encode(), seen) + len(steps[0][0].encode())
        time.sleep(0.15)
        os.write(fd, steps[0][1].encode())
        typed_at = time.monotonic()
        steps.pop(0)
_, status = os.waitpid(pid, 0)
ended_at = time.monotonic()
code = os.waitstatus_to_exitcode(status)
print(json.dumps({
    "output": output.decode("utf-8", "replace"),
    "exitCode": code if code >= 0 else 128 - code,
    "msAfterKeys": None if typed_at is None else round((ended_at - typed_at) * 1000),
    "timedOut": timed_out,
}))
