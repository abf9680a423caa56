"""One of two processes that share a small model by FSDP2: do its gradients and outputs hold?

Run by ``torch.distributed.run``; the first process prints JSON. TRL's fused head and accelerate's
own sharding do the work, on gloo instead of NCCL.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model

from service.engine.torchvision_schemas import register

register()

from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402 - needs the schemas
from trl.trainer.utils import add_fused_lm_head  # noqa: E402

from training.stages.model import keep_outputs_whole  # noqa: E402


def outputs(model: Any, ids: torch.Tensor) -> Any:
    labels = ids.clone()
    labels[:, :4] = -100
    return model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        labels=labels,
        fused_lm_head=True,
    )


def main(start: str, precision: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    config = Qwen2_5_VLConfig.from_pretrained(start)
    config.tie_word_embeddings = False  # as in the 7B model
    torch.manual_seed(0)  # the same weights in both
    whole = Qwen2_5_VLForConditionalGeneration(config)
    sharded: Any = copy.deepcopy(whole)
    for model in (whole, sharded):
        add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"],
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
        state_dict_type="FULL_STATE_DICT",
    )
    if precision != "no":
        plugin.set_mixed_precision(precision)
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin),
        torch_device_mesh=None,
        mixed_precision=precision,
        is_main_process=rank == 0,
        device=torch.device("cpu"),
    )
    keep_outputs_whole(accelerator)
    sharded = fsdp2_prepare_model(accelerator, sharded)
    drawn = torch.Generator().manual_seed(10 + rank)  # each process has samples of its own
    ids = torch.randint(0, 60, (2, 12), generator=drawn)
    given, wanted = outputs(sharded, ids), outputs(whole, ids)
    given.log_probs.float().sum().backward()
    wanted.log_probs.sum().backward()
    errors = {}
    for (name, shard), weight in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        if weight.grad is None:
            continue
        mean = weight.grad.clone()
        dist.all_reduce(mean)
        mean /= world
        found = shard.grad.full_tensor().float()
        errors[name] = float((found - mean).norm() / mean.norm().clamp(min=1e-12))
    if rank == 0:
        largest = max(errors, key=lambda name: errors[name])
        told = {
            "largest": [largest, errors[largest]],
            "head": errors["lm_head.weight"],
            "dtype": str(given.log_probs.dtype),
            "difference": float((given.log_probs - wanted.log_probs).abs().max()),
        }
        print(json.dumps(told), flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # Gloo's threads may still end while the interpreter does, which then aborts: all is told.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
