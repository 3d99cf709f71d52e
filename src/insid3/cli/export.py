"""The command insid3 export-encoder."""

from pathlib import Path
from typing import Annotated

import typer

from insid3.cli import app
from insid3.cli.options import ModelOptions, check_writable, with_options


@app.command("export-encoder")
@with_options
def export_encoder(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.onnx.", show_default=False)],
    model: ModelOptions,
) -> None:
    """Write the encoder as an ONNX file, to run it without this package.

    Input image (batch, 3, height, width): RGB in [0, 1], minus mean, divided by
    std; any height and width that are multiples of the patch size. Mean, std,
    patch size, weights and settings are in the file's metadata.

    Outputs tokens, debiased (batch, patches, channels): of unit length, patches
    row by row, float32 whatever --dtype and --engine say.

    The positional basis that debiasing removes is estimated at --size and holds
    for that size. It is the default of a second input, basis (channels, rank):
    leave this input out, or feed another basis, such as that of another size
    (ONNX Runtime can; other programs may take the default as fixed).

    The only settings that matter here are --size, --rank and --basis.

        insid3 export-encoder --size 518 -o encoder.onnx
    """
    from insid3.backbones.export import export  # fails without onnx, before a model is loaded

    check_writable(output.parent)
    loaded = model.load()
    encoder, config = loaded.encoder, loaded.config
    export(encoder, loaded.cache.basis(config), config, output)
    if not model.quiet:
        typer.echo(
            f"{output}: {encoder.name}, {output.stat().st_size / 2**20:.1f} MiB\n"
            f"  in   image (batch, 3, height, width), multiples of {encoder.patch_size}\n"
            f"       basis ({encoder.channels}, rank), by default rank {config.rank} at {config.size} px\n"
            f"  out  tokens, debiased (batch, patches, {encoder.channels})",
            err=True,
        )
