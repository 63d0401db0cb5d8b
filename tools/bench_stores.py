"""`python -m tools.bench_stores`: obstore against fsspec with s3fs, gcsfs and adlfs, measured in one run. Prints a table.

Each library is installed into an environment of its own, which is removed afterwards. Both upload the same bytes in parts of
6 MiB to the same server on this machine, in turns, in a process each; then each process is killed in the middle of an upload,
and another one fails in the middle.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
import venv
from pathlib import Path

from tests.support.object_stores import ObjectStore, serving

SIZE = 256 << 20
RUNS = 5
LIBRARIES = {"obstore": ("obstore",), "fsspec": ("s3fs", "gcsfs", "adlfs")}
"""What covers S3, Google and Azure."""
BLOCKS = """
import json, os, sys, time
def peak():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
key, size, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
block = os.urandom(1 << 20)
def blocks():
    for number in range(size >> 20):
        if how and number == size >> 21:
            print("half", flush=True)
            if how == "fail":
                raise RuntimeError("the download failed")
            time.sleep(600)
        yield block
begin = time.perf_counter()
"""
LOAD = {
    "obstore": """
import obstore
from obstore.store import S3Store
store = S3Store("bench", client_options={"allow_http": True})
""",
    "fsspec": """
import fsspec
store = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
""",
}
UPLOAD = {
    "obstore": "obstore.put(store, key, blocks(), chunk_size=6 << 20, max_concurrency=3)",
    "fsspec": """
file = store.open("bench/" + key, "wb", block_size=6 << 20)
try:
    for each in blocks():
        file.write(each)
except RuntimeError:
    file.discard()
    file.closed = True
    raise
file.close()
""",
}
REPORT = """
print(json.dumps({"load": loaded - begin, "upload": time.perf_counter() - loaded,
                  "memory": peak() - idle}))
"""


def program(library: str) -> str:
    """The script of one process."""
    measured = "\nloaded = time.perf_counter()\nidle = peak()\n"
    return BLOCKS + LOAD[library] + measured + UPLOAD[library] + REPORT


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="pulumi-snapshots-bench-") as name, serving("s3") as server:
        server.make_bucket("bench")
        pythons = {library: installed(Path(name) / library, packages) for library, packages in LIBRARIES.items()}
        runs: dict[str, list[dict[str, float]]] = {library: [] for library in pythons}
        for number in range(RUNS):
            for library, python in pythons.items():
                done = subprocess.run(  # noqa: S603  made above
                    [python, "-c", program(library), f"{library}-{number}", str(SIZE), ""],
                    env={**os.environ, **server.environment}, check=True, capture_output=True, text=True,
                )  # fmt: skip
                runs[library].append(json.loads(done.stdout))
        print(f"| {SIZE >> 20} MiB to an S3 server on this machine, {RUNS} runs | obstore | s3fs, gcsfs, adlfs |")
        print("| --- | --- | --- |")
        for what, unit, digits in (("upload", "s", 2), ("memory", "MiB above idle", 0), ("load", "s to import", 2)):
            medians = [f"{statistics.median(run[what] for run in runs[library]):.{digits}f}" for library in runs]
            print(f"| {what}, {unit}, median | {' | '.join(medians)} |")
        sizes = [packages_of(python) for python in pythons.values()]
        print(f"| packages | {' | '.join(str(count) for count, _ in sizes)} |")
        print(f"| installed, MB | {' | '.join(f'{size / 1e6:.0f}' for _, size in sizes)} |")
        for how, what in (("fail", "uploads left by one that fails in the middle"), ("kill", "… that is killed")):
            left = [interrupted(server, python, library, how) for library, python in pythons.items()]
            print(f"| {what} | {' | '.join(map(str, left))} |")


def installed(folder: Path, packages: tuple[str, ...]) -> Path:
    """The Python of a new environment with these packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--quiet", "install", *packages], check=True)  # noqa: S603
    return python


def packages_of(python: Path) -> tuple[int, int]:
    """How many packages were installed, and their bytes."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    pip = {"pip", "setuptools", "wheel", "_distutils_hack", "distutils-precedence.pth", "pkg_resources"}
    ours = [each for each in site.iterdir() if each.name.split("-")[0] not in pip]
    files = [file for each in ours for file in ([each] if each.is_file() else each.rglob("*")) if file.is_file()]
    return sum(each.suffix == ".dist-info" for each in ours), sum(
        file.stat().st_size for file in files if file.suffix != ".pyc"
    )


def interrupted(server: ObjectStore, python: Path, library: str, how: str) -> int:
    """How many unfinished uploads are left of one that is interrupted."""
    key = f"{library}-{how}"
    command = [str(python), "-c", program(library), key, str(SIZE), how]
    with subprocess.Popen(  # noqa: S603  made above
        command, env={**os.environ, **server.environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        process.stdout.readline()
        if how == "kill":
            time.sleep(1)
            process.kill()
        process.wait()
    uploads = server.s3().list_multipart_uploads(Bucket="bench").get("Uploads", [])
    return len([each for each in uploads if each["Key"] == key])


if __name__ == "__main__":
    main()
