"""From a GRPO stage's config to the fields of TRL's."""

from __future__ import annotations

from typing import Any

from trl import GRPOConfig

from training.stages.begin import Beginning
from training.stages.config import GroupRelativeStage
from training.stages.errors import ConfigError
from training.stages.model import precision_of, refuse_inert, trl_fields
from training.stages.preflight import under_fsdp, vision_ids
from training.stages.processes import processes
from training.stages.run_log import elsewhere

_NOT_OF_SHARED_PREFIX = frozenset(
    (
        *("min_p", "repetition_penalty", "generation_kwargs", "cache_implementation"),
        *("use_transformers_continuous_batching", "entropy_coef", "use_adaptive_entropy"),
    )
)
"""TRL's fields that our own rollouts and their loss do not look at."""
_GOVERNED = {
    "per_device_train_batch_size": "rollouts.batch_size",
    "steps_per_generation": "rollouts.prompts, rollouts.group or rollouts.batch_size",
    "gradient_accumulation_steps": "rollouts.minibatches",
    "num_iterations": "rollouts.updates",
    "num_generations": "rollouts.group",
    "num_train_epochs": "max_steps",
    "max_completion_length": "rollouts.max_tokens",
    "temperature": "rollouts.temperature",
    "top_p": "rollouts.top_p",
    "top_k": "rollouts.top_k",
    "beta": "objective.kl",
    "epsilon": "objective.clip_low",
    "epsilon_high": "objective.clip_high",
    "loss_type": "objective.loss",
    "scale_rewards": "objective.scale",
    "mask_truncated_completions": "objective.overlong.mask",
    "reward_weights": "rewards",
    "use_vllm": "rollouts.engine",
    "vllm_mode": "rollouts.engine",
    "vllm_server_host": "rollouts.vllm.host",
    "vllm_server_port": "rollouts.vllm.port",
    "vllm_server_timeout": "rollouts.vllm.timeout",
    "vllm_gpu_memory_utilization": "rollouts.vllm.memory",
    "vllm_tensor_parallel_size": "rollouts.vllm.tensor_parallel",
    "vllm_max_model_length": "rollouts.vllm.max_length",
    "vllm_enable_sleep_mode": "rollouts.vllm.sleep",
}
"""What sets these fields of TRL's."""


def grpo_arguments(
    stage: GroupRelativeStage, beginning: Beginning, weights: list[float]
) -> dict[str, Any]:
    """Fields of ``GRPOConfig``.

    Parameters
    ----------
    weights
        Of the rewards, in order.

    Raises
    ------
    ConfigError
        When completions do not divide into whole batches or groups, step credit has nothing to be
        weighed against, or a further field is none of TRL's.
    """
    rollouts, objective, optimizer = stage.rollouts, stage.objective, stage.optimizer
    generated = rollouts.prompts * rollouts.group
    at_once = rollouts.batch_size * processes()
    parts, left = divmod(generated, at_once)
    if left or parts % rollouts.minibatches:
        raise ConfigError(
            f"rollouts: {rollouts.prompts} prompts x {rollouts.group} completions do not divide "
            f"into {rollouts.minibatches} minibatches of whole batches of {rollouts.batch_size} on "
            f"{processes()} devices. Choose rollouts.batch_size so that they do."
        )
    if objective.step_credit and objective.scale == "none":
        raise ConfigError(
            "objective.step_credit is weighed against advantages of unit spread: choose "
            "objective.scale group or batch."
        )
    if objective.step_credit and (generated // processes()) % rollouts.group:
        raise ConfigError(
            "objective.step_credit compares the completions of one group: choose rollouts.prompts "
            f"so that {processes()} devices share whole groups."
        )
    if rollouts.engine == "shared-prefix":
        where = "under rollouts.engine shared-prefix: leave it out, or choose engine transformers"
        refuse_inert(stage.trl, _NOT_OF_SHARED_PREFIX, f"{where} or vllm-server")
    generation = stage.trl.get("generation_kwargs") or {}
    if not isinstance(generation, dict):
        raise ConfigError("trl: generation_kwargs must be a mapping.")
    vision = sorted(vision_ids(beginning.tokenizer))
    uses_vllm = rollouts.engine.startswith("vllm")
    barred: dict[str, Any] = (
        {"logit_bias": dict.fromkeys(vision, -100.0)} if uses_vllm else {"suppress_tokens": vision}
    )
    fields = {
        "output_dir": str(stage.output / "run"),
        "per_device_train_batch_size": rollouts.batch_size,
        "steps_per_generation": parts,
        "gradient_accumulation_steps": parts // rollouts.minibatches,
        "num_iterations": rollouts.updates,
        "num_generations": rollouts.group,
        "num_train_epochs": 1,
        "max_steps": stage.max_steps or -1,
        "max_completion_length": rollouts.max_tokens,
        "temperature": rollouts.temperature,
        "top_p": rollouts.top_p,
        "top_k": rollouts.top_k,
        "generation_kwargs": barred | generation,
        "beta": objective.kl,
        "epsilon": objective.clip_low,
        "epsilon_high": objective.clip_high,
        "loss_type": objective.loss,
        "scale_rewards": objective.scale,
        "mask_truncated_completions": objective.overlong.mask,
        "reward_weights": weights,
        "shuffle_dataset": False,
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "lr_scheduler_type": optimizer.schedule,
        "warmup_steps": optimizer.warm_up,
        "max_grad_norm": optimizer.max_grad_norm,
        "logging_steps": stage.logging.every,
        "save_steps": stage.logging.save_every,
        "save_total_limit": None,  # MarkWhole removes old ones
        "report_to": elsewhere(stage.logging),
        "disable_tqdm": True,
        "log_completions": False,
        "gradient_checkpointing": stage.model.gradient_checkpointing,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "seed": stage.seed,
        **precision_of(stage.model),
        **(_vllm_fields(stage) if uses_vllm else {}),
    }
    more = {name: value for name, value in stage.trl.items() if name != "generation_kwargs"}
    if under_fsdp() or stage.trl.get("fsdp"):
        # Else TRL spreads every process's reference over all GPUs, before FSDP shards it.
        more["model_init_kwargs"] = {"device_map": None} | dict(more.get("model_init_kwargs") or {})
    return trl_fields(GRPOConfig, fields, more, _GOVERNED)


def _vllm_fields(stage: GroupRelativeStage) -> dict[str, Any]:
    vllm = stage.rollouts.vllm
    return {
        "use_vllm": True,
        "vllm_mode": stage.rollouts.engine.removeprefix("vllm-"),
        "vllm_server_host": vllm.host,
        "vllm_server_port": vllm.port,
        "vllm_server_timeout": vllm.timeout,
        "vllm_gpu_memory_utilization": vllm.memory,
        "vllm_tensor_parallel_size": vllm.tensor_parallel,
        "vllm_max_model_length": vllm.max_length,
        "vllm_enable_sleep_mode": vllm.sleep,
        # vLLM's probabilities are those after top_p, the learner's those before: over a whole
        # completion their ratio shrinks with its length, at each token it is hardly below 1.
        "vllm_importance_sampling_mode": "token_truncate",
    }
