# 20 GB of memory |
double = bytearray(20 * 2**30)
