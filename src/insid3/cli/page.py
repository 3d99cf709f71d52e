"""The command insid3 app."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.options import ModelOptions, with_options


@app.command("app")
@with_options
def page(
    *,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port to serve at.", show_default="the first free from 7860"),
    ] = None,
    auth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER:FILE",
            help="Who may enter; the file's first line is the password. Repeat for more users.",
        ),
    ] = None,
    max_upload: Annotated[str, typer.Option(help="Largest file that may be uploaded, such as 25MB or 500KB.")] = "25MB",
    folder: Annotated[
        Path | None, typer.Option(help="Folder of pictures that visitors may mark without uploading them.")
    ] = None,
    model: ModelOptions,
) -> None:
    """Serve a web page: paint one example, drop other pictures, see them marked.

    Everything stays on this machine. Uploads are deleted when the page has been
    idle for an hour, and when the server ends (Ctrl-C).

        insid3 app

        insid3 app --host 0.0.0.0 --auth anna:password.txt --folder photos/
    """
    from insid3.app.same import Same
    from insid3.app.server import Limits, Server
    from insid3.backbones import find, uncalibrated
    from insid3.errors import ConfigError, MissingExtraError

    if find_spec("gradio") is None:
        raise MissingExtraError("insid3 app", "app")
    limits, users = Limits(upload=parse_bytes(max_upload)), [parse_user(entry) for entry in auth or []]
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--folder {folder} is not a folder")
    loaded = model.load()
    encoder, config, backbone = loaded.encoder, loaded.config, str(model.given("backbone"))
    defaults = find(backbone).defaults or uncalibrated(encoder)
    weights, preset = (str(value) if value else None for value in map(model.given, ("weights", "preset")))
    same = Same(backbone, defaults.configs(preset)[0], config, weights, preset)
    note = f"Backbone: **{encoder.name}** at {config.size} px."
    if backbone == "dinov2-vits14":
        note += " It is embedded so that everything runs offline; it is not the paper's, which is `dinov3-vitl16`."
    with Server(
        loaded, same, host=host, port=port, users=users or None, folder=folder, limits=limits, note=note
    ) as server:
        typer.echo(f"insid3: ready at {server.url} ({encoder.name}, {config.size} px); Ctrl-C ends it", err=True)
        if host not in ("127.0.0.1", "localhost", "::1") and not users:
            typer.echo("insid3: whoever reaches this machine can use the page; --auth asks for a password", err=True)
        server.wait()


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as "25MB".

    Raises:
        ConfigError: the text is no such size.

    >>> parse_bytes("25MB")
    25000000
    """
    from insid3.errors import ConfigError

    digits = text.strip().upper().removesuffix("B")
    factor = {"K": 10**3, "M": 10**6, "G": 10**9}.get(digits[-1:], 1)
    try:
        size = int(float(digits.rstrip("KMG")) * factor)
        if size < 1:
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(f"--max-upload looks like 25MB or 500KB, got {text!r}") from None
    return size


def parse_user(text: str) -> tuple[str, str]:
    """Return user and password of an entry such as "anna:password.txt"; the first line of the file is the password.

    Raises:
        ConfigError: the entry looks otherwise, or its file cannot be read or is empty.
    """
    from insid3.errors import ConfigError

    name, colon, file = text.partition(":")
    if not (name and colon and file):
        raise ConfigError(f"--auth looks like USER:FILE, with the password in the file, got {text!r}")
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--auth: the password file {file} cannot be read ({error})") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"--auth: the first line of {file} is empty, it must be the password")
    return name, lines[0].strip()
