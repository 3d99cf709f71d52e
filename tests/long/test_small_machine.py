"""A machine that is too small, for real: the address space of a child process is limited after the model is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

CHILD = """
import resource, sys
from pathlib import Path
from insid3 import INSID3
from insid3.errors import SizeError

model = INSID3.from_pretrained(size=2044, device="cpu", engine=sys.argv[1])
INSID3(model.encoder, model.config.but(size=140)).encode(sys.argv[2])
status = Path("/proc/self/status").read_text().splitlines()
mapped = int(next(line for line in status if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (mapped + 400 * 2**20,) * 2)
try:
    model.encode(sys.argv[2])
except SizeError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what is mapped from /proc")
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_error_names_a_size_that_fits(pictures: dict[str, Path], engine: str) -> None:
    words = [sys.executable, "-W", "ignore", "-c", CHILD, engine, str(pictures["lion"])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "size 2044 needs more memory than cpu has; size=" in done.stdout
    size = int(done.stdout.split("size=")[1].split()[0])
    assert size % 14 == 0
    assert 0 < size < 2044
