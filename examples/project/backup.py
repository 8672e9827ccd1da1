"""Code with two faults on purpose: the example's semgrep pattern finds them."""

import hashlib
import subprocess


def archive(folder: str) -> None:
    """Pack a folder. Fault: a name like `x; rm -rf ~` is run by the shell."""
    subprocess.run(f"tar -cf backup.tar {folder}", shell=True, check=True)


def fingerprint(content: bytes) -> str:
    """Name some content. Fault: two contents with one MD5 are made in seconds."""
    return hashlib.md5(content).hexdigest()
