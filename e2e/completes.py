#!/usr/bin/env python3
"""What an interactive shell makes of a line when Tab is pressed.

    e2e/completes.py SETUP LINE COMMAND ...    COMMAND is the shell; SETUP a line that it gets first

Prints what the terminal shows from the line on.
"""

import os
import pty
import select
import sys
import time


def read(terminal, until, seconds):
    """What comes until a text has come or time is up."""
    came, end = b'', time.monotonic() + seconds
    while until not in came and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                came += os.read(terminal, 65536)
            except OSError:
                break
    return came


def main():
    setup, line, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    child, terminal = pty.fork()
    if child == 0:
        os.environ['TERM'] = 'dumb'
        os.execvp(command[0], command)
    # Spelt so that the line itself, which is shown too, does not end the waiting.
    os.write(terminal, (setup + "; echo rea''dy\n").encode())
    read(terminal, b'ready', 30)
    os.write(terminal, line.encode() + b'\t')
    print(read(terminal, b'\0', 2).decode('utf-8', 'replace'))
    os.close(terminal)
    os.waitpid(child, 0)


if __name__ == '__main__':
    main()
