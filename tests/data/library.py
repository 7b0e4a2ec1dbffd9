"""libflexhpc.so for tests in Python; where it is built with AddressSanitizer, Python can't load it, and the test is skipped."""
import ctypes
import os
import subprocess
import sys


def load():
    path = os.path.join(os.environ["FX_BINARY_DIR"], "libflexhpc.so")
    if "libasan" in subprocess.run(["ldd", path], capture_output=True, text=True).stdout:
        print("skipped: a library under AddressSanitizer does not load into Python")
        sys.exit(77)
    return ctypes.CDLL(path)
