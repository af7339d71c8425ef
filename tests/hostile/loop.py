# never ends, and does not listen | stopped after \d+ seconds of computing, and would not stop
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    pass
