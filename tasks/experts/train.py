"""Fine-tune a few experts of a visgen model on your own data, and prove that nothing else moved.

    python tasks/experts/train.py --data imagefolder:PATH --experts top:4
    python tasks/experts/train.py --data semantic:PATH --task segmentation --experts new:2 --keep-heads

PATH holds the parts train and val in the layout of its format. Beside the new head trains: `head` nothing, `router`
the routers, `top:N` or `bottom:N` also the N most or least used experts of each layer, `new:N` also N added ones,
`full` everything, `lora` low-rank updates of as many parameters as --match. The model is written to OUT/last.
"""

from __future__ import annotations

import argparse

from visgen.config import DataConfig, FinetuneConfig, ModelConfig, OptimConfig, PartConfig, RunConfig, TrainConfig
from visgen.data import build_source
from visgen.errors import VisgenError
from visgen.experts import finetune
from visgen.zoo import DEFAULT_MODEL, load_model, save_pretrained

QUICK = {"data": "town:street?count=6&size=64x96&tasks=classification", "steps": 2, "batch_size": 2, "size": 64}


def configure(options: argparse.Namespace) -> RunConfig:
    """The run: one part to train on, one to measure, the head that the data name, and what trains."""
    source = build_source(options.data, "train")
    if options.task not in source.heads:
        raise VisgenError(f"--task is '{options.task}' but the data have labels for {', '.join(source.heads)}.")
    head = source.heads[options.task]
    augment = (
        {"name": "random_resized_crop", "size": options.size, "scale": [0.4, 1.0]},
        {"name": "horizontal_flip"},
    )
    train = PartConfig(options.data, head=head, cache=True, transforms=augment, batch_size=options.batch_size)
    val = PartConfig(options.data, head=head, max_side=options.size)
    return RunConfig(
        finetune=FinetuneConfig(
            options.model,
            options.experts,
            keep_heads=options.keep_heads,
            router_steps=options.router_steps,
            match=options.match,
        ),
        model=ModelConfig(max_side=options.size, min_side=options.size),
        data=DataConfig(train={"train": train}, val={"val": val}),
        # A part learns at the full rate; where everything trains, what was trained before moves at a tenth.
        optim=OptimConfig(
            lr=options.lr,
            warmup_steps=options.steps // 20,
            lr_scales={"backbone": 0.1 if options.experts == "full" else 1.0, "router.tasks": 1.0},
        ),
        train=TrainConfig(steps=options.steps, workers=0 if options.quick else 1, log_every=10),
        seed=options.seed,
        out=options.out,
    )


def run(options: argparse.Namespace) -> None:
    # Data, model and what trains.
    config = configure(options)
    base = load_model(options.model, "cpu")

    # Fit. A tensor that was announced as frozen and moved would end this with an error and no model.
    report = finetune(base, config, resume=options.resume, export=save_pretrained)
    if not report.summary.finished:
        print(f"stopped at step {report.summary.steps}; the same command with --resume goes on")
        return

    # Table: what trained, what the heads of before do, and the figures.
    trainable = report.trainable
    print(f"{options.model}, experts {trainable.selection}; model: {report.summary.out}/last")
    for part, count in trainable.parameters.items():
        print(f"{part:<12}{count:>12,} parameters in {len(trainable.names[part])} tensors")
    print(f"{'all':<12}{trainable.trained:>12,} of {trainable.total:,}")
    print(f"{report.movement.frozen} other tensors are bit for bit as before")
    for layer, chosen in trainable.experts.items():
        print(f"{layer}: experts {', '.join(map(str, chosen))}")
    if options.keep_heads:
        print("heads that answer as before:", ", ".join(report.untouched) or "none")
    for name, value in report.summary.metrics.items():
        print(f"{name:<24}{value:>8.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as imagefolder:PATH")
    parser.add_argument("--task", default="classification", help="task of the labels, such as segmentation")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model to start from")
    parser.add_argument("--experts", default="top:4", help="what trains beside the head; see above")
    parser.add_argument("--match", default="top:4", help="lora trains no more parameters than this selection")
    parser.add_argument("--router-steps", type=int, default=0, help="first train head and routers, then choose experts")
    parser.add_argument("--keep-heads", action="store_true", help="keep the heads that the model has")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=192, help="side of the training crops in pixels")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/experts-mine", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data imagefolder:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
