"""One module for each bench; `visgen.cli.bench` lists them."""
