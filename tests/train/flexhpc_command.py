"""Runs the program: for tests in Python, beside this file."""
import os
import subprocess


def command(*words, ranks=0, code=0):
    """What `flexhpc words...` prints, on so many ranks (0: without a launcher); its errors where it must end with `code`."""
    launcher = ["mpiexec", "-n", str(ranks)] if ranks else []
    done = subprocess.run([*launcher, os.environ["FLEXHPC"], *words], capture_output=True, text=True)
    assert done.returncode == code, (words, done.returncode, done.stdout + done.stderr)
    return done.stderr if code else done.stdout


def settings(keys):
    """--set words for {section__key: value}."""
    return [word for key, value in keys.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]
