"""Importing this first lets Ctrl-C end a script without a traceback while its other modules are imported.

`commandline.run` restores the handler of Python, which ends a script with a message. A script that runs in the
background, where the shell ignores Ctrl-C, keeps ignoring it.
"""

import _signal as signal  # built in; `signal` itself takes 10 ms to import

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
