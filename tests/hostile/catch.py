# catches the interrupt each time | stopped after \d+ seconds of computing
def double(x):
    while True:
        try:
            while True:
                pass
        except KeyboardInterrupt:
            pass
