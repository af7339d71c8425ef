# ends the kernel | ended the kernel
import os

os._exit(0)
