# 100 MB of output | wrote more than 4 MB of output|stopped after
for _ in range(100):
    print("x" * 1_000_000)
