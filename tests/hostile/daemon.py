# leaves a process behind, with nothing that tells where it comes from |
import subprocess
import sys
import time

code = "import time; time.sleep(98.7654)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env={})
time.sleep(1)


def double(x):
    return x
