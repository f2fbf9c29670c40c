"""Two processes that draw different tasks keep one running estimate, that of a single process which saw both."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from visgen.losses.routing import RoutingLoss, RoutingLossConfig

TASKS, EXPERTS, STEPS = 3, (4, 6), 4


def batch(step, rank, experts):
    generator = torch.Generator().manual_seed(100 * step + 10 * rank + experts)
    p = torch.rand(1, experts, generator=generator).softmax(-1)
    rows = torch.full((1,), 8.0 * (rank + 1))
    return {
        "task": torch.tensor([(step + rank) % TASKS]),
        "rows": rows,
        "probabilities": p * rows,
        "selected": p * rows,
        "entropy": rows,
        "z": rows,
    }


def run(rank, folder):
    expected = single().state_dict()  # before there is a group
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    loss = RoutingLoss(EXPERTS, TASKS, RoutingLossConfig(warmup=1))
    for step in range(STEPS):
        loss([batch(step, rank, e) for e in EXPERTS])
        loss.step()
    torch.testing.assert_close(loss.state_dict(), expected)
    dist.destroy_process_group()


def single():
    loss = RoutingLoss(EXPERTS, TASKS, RoutingLossConfig(warmup=1))
    for step in range(STEPS):
        for rank in range(2):
            loss([batch(step, rank, e) for e in EXPERTS])
        loss.step()
    return loss


def test_estimate_is_that_of_one_process(tmp_path):
    assert single().layers[0].updates.tolist() == [3, 3, 2]
    mp.spawn(run, args=(str(tmp_path),), nprocs=2)
