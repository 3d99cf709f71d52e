"""The commands insid3 backbones, cache and doctor, which show what is installed and kept."""

import importlib.metadata
import os
import platform
import shutil
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from insid3 import __version__
from insid3.backbones.registry import REGISTRY, SATELLITE_BACKBONES, find
from insid3.cli import app
from insid3.storage import CACHES, cache_dir

if TYPE_CHECKING:
    import torch

cache_app = typer.Typer(
    no_args_is_help=True, help="The folder of converted weights, compiled models and positional bases."
)
app.add_typer(cache_app, name="cache")


@app.command()
def backbones() -> None:
    """List the backbones: size, licence, settings, and whether their weights are on this machine."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "parameters", "patch", "size", "rank", "tau", "weights", "licence", "settings"):
        table.add_column(
            heading, justify="right" if heading in ("parameters", "patch", "size", "rank", "tau") else "left"
        )
    for backbone in {**REGISTRY, **SATELLITE_BACKBONES}.values():
        settings = backbone.defaults
        assert settings is not None
        facts = f"{backbone.parameters:g} M", backbone.patch_size, settings.size, settings.rank, settings.tau
        here = "here" if weights_here(backbone.name) else "not here"
        table.add_row(backbone.name, *map(str, facts), here, backbone.licence, settings.origin)
    Console(width=None if Console().is_terminal else 160).print(table)
    typer.echo(
        "\ndinov2-vits14 comes with the extra 'embedded' and works offline; it is a stand-in, not the paper's model.\n"
        "dinov3-* are downloaded at first use or read from --weights FILE; dinov3-vitl16 is the paper's.\n"
        "dinov3-*-sat493m were trained on satellite pictures; their weights are recognised under the other names too.\n"
        "timm:NAME takes any other patch-token ViT of timm, uncalibrated.\n"
        "--preset plus is calibrated for dinov2-vits14; with dinov3-* its weights are the literature's, uncalibrated."
    )


@app.command()
def doctor() -> None:
    """Check this installation: device, engine, weights, extras."""
    import timm
    import torch

    from insid3.backbones.timm_vit import resolve

    device, dtype = resolve("auto", "auto")
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    rows = {
        "insid3": f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "engine": f"{_engine(device)}, timm {timm.__version__}",
        "device": f"{device} ({torch.get_num_threads()} threads), computing in {str(dtype).removeprefix('torch.')}",
        "cache": f"{folder} ({'writable' if os.access(existing, os.W_OK) else 'NOT writable: set INSID3_CACHE'})",
        "weights": ", ".join(name for name in (*REGISTRY, *SATELLITE_BACKBONES) if weights_here(name))
        or "none here: see 'insid3 backbones'",
    }
    for extra, missing in extras().items():
        rows[f"extra {extra}"] = (
            f'missing {", ".join(missing)}: pip install "insid3[{extra}]"' if missing else "installed"
        )
    for name, value in rows.items():
        typer.echo(f"{name:16}{value}")


@cache_app.command()
def info() -> None:
    """Show the cache folder and its files."""
    folder = cache_dir()
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
    typer.echo(f"{folder}: {len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB")
    for path in files:
        typer.echo(f"{path.stat().st_size / 2**20:10.1f} MiB  {path.relative_to(folder)}")
    typer.echo("Downloads from the hub are kept by huggingface_hub: see 'hf cache'.")


@cache_app.command()
def clear(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False) -> None:
    """Delete converted weights, compiled models and positional bases; they are made again when needed."""
    folders = [cache_dir() / name for name in CACHES if (cache_dir() / name).exists()]
    if not folders:
        typer.echo(f"nothing in {cache_dir()}")
        return
    if not yes:
        typer.confirm(f"delete {', '.join(map(str, folders))}?", abort=True)
    for folder in folders:
        shutil.rmtree(folder)
        typer.echo(f"deleted {folder}")


def _engine(device: "torch.device") -> str:
    """Return the engine that "auto" means on this machine, with versions."""
    import torch

    found = f"torch {torch.__version__}"
    if device.type != "cpu":
        return found
    try:
        openvino = f"openvino {importlib.metadata.version('openvino')}"
    except importlib.metadata.PackageNotFoundError:
        return f'{found}; pip install "insid3[openvino]" for a faster one'
    return f"{openvino}, {found}"


def weights_here(name: str) -> bool:
    """Tell whether the weights of a backbone are on this machine."""
    from insid3.backbones import embedded, timm_vit
    from insid3.errors import MissingExtraError

    if (backbone := find(name)).source != "embedded":
        return timm_vit.is_cached(backbone)
    try:
        return embedded.cached_file().exists() or embedded.wheel_file().exists()
    except MissingExtraError:
        return False


def extras() -> dict[str, list[str]]:
    """Return the missing packages of each extra, from the package's own metadata."""
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in importlib.metadata.requires("insid3") or []]
    result: dict[str, list[str]] = {}
    for extra in importlib.metadata.metadata("insid3").get_all("Provides-Extra") or []:
        if extra == "all":
            continue
        result[extra] = []
        for requirement in wanted:
            if requirement.marker and requirement.marker.evaluate({"extra": extra}) and requirement.name != "insid3":
                try:
                    importlib.metadata.version(requirement.name)
                except importlib.metadata.PackageNotFoundError:
                    result[extra].append(requirement.name)
    return result
