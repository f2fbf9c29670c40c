"""`visgen kernels build|status`: the optional compiled kernel of the experts."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import JSON_OPTION, only_json, print_json, say, user_errors

__all__ = ["app"]

app = typer.Typer(
    help="Build the optional kernel that makes experts faster on this CPU, or say whether it is there.",
    no_args_is_help=True,
)


@app.command("build")
@user_errors
def build(
    force: Annotated[bool, typer.Option("--force", help="Build again although it is there.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Compile the kernel for this processor with the C++ compiler found here (or named by CXX), into the user's cache.

    It is used from then on wherever it can compute; without it everything works, only slower.
    """
    with only_json(as_json):
        from ..nn.compiled_kernel import build_kernel

        path = build_kernel(force)
    if as_json:
        print_json({"kernel": str(path)})
    else:
        say(f"built {path}")


@app.command("status")
@user_errors
def status(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Say which compiler is here, whether the kernel is built, and what computes experts on this CPU."""
    with only_json(as_json):
        import torch

        from ..nn.compiled_kernel import find_compiler, kernel_library, kernel_path
        from ..nn.moe_backend import choose_backend

        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        found = {
            "kernel": str(kernel_path()),
            "built": kernel_library() is not None,
            "compiler": find_compiler(),
            "backends": {
                name: choose_backend(torch.zeros(1, 64, dtype=d), torch.zeros(1, 64, 64, dtype=d))
                for name, d in dtypes.items()
            },
        }
    if as_json:
        print_json(found)
        return
    typer.echo(
        f"{'built' if found['built'] else 'not built'}: {found['kernel']}\ncompiler: {found['compiler'] or 'none'}"
    )
    for name, backend in found["backends"].items():  # type: ignore[attr-defined]
        typer.echo(f"experts in {name}: {backend}")
