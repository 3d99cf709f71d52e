"""Ask pip-audit for known holes in the oldest versions that pyproject.toml allows, and in those that are installed.

It needs a service on the net: where that cannot be reached this says so, and is no failure.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
_SECONDS = 300
_KNOWN = {"pyyaml": "5.3"}  # it runs code: a mirror of the index that does not tell that tells nothing


def required() -> dict[str, str]:
    """The lowest version of every requirement that has one, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    told = [*project["dependencies"], *(one for some in project["optional-dependencies"].values() for one in some)]
    bounds = [(found.name, bound) for found in map(Requirement, told) for bound in found.specifier]
    return {name: bound.version for name, bound in bounds if bound.operator in (">=", "==")}


def holes(python: Path, versions: dict[str, str]) -> list[str] | None:
    """A line for each known hole; None where nobody could be asked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(f"{name}=={number}" for name, number in versions.items()))
        command = [python, "-m", "pip_audit", "--no-deps", "--disable-pip", "-f", "json", "-r", str(file)]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            told = json.loads(asked.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None
    return [
        f"{found['name']} {found['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for found in told
        for hole in found.get("vulns", ())
    ]


def main() -> int:
    """How many holes there are, at most 1."""
    count, oldest = 0, required()
    here = {name: version(name).partition("+")[0] for name in oldest}
    with tempfile.TemporaryDirectory() as folder:  # not among the packages that are asked about
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        if subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-audit"], capture_output=True).returncode:
            print("audit: pip-audit cannot be installed, nothing was checked")
            return 0
        if not holes(python, _KNOWN):
            print("audit: nobody who knows of holes can be reached, nothing was checked")
            return 0
        for what, versions in (("the oldest versions allowed", oldest), ("the versions installed", here)):
            found = holes(python, versions)
            if found is None:
                print(f"audit: the service cannot be reached, {what} were not checked")
            else:
                print(f"audit: {len(found)} known holes in {what} ({len(versions)} packages)", *found, sep="\n  ")
                count += len(found)
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
