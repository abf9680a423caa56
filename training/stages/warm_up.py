"""Dense warm-up of the vision tower: where every structure and finding is, token by token.

A text loss alone is slow to teach a tower from nothing where things are. The simulated films know
their boxes exactly, so the tower (with its merger) first learns, for every visual token, how much
of each class's box covers it, where that box's edges lie on the film, and where the token itself
lies. The heads are thrown away afterwards; what they could read off linearly, the language model
can too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone uses
from PIL import Image
from rich.progress import Progress, TextColumn
from safetensors.torch import load_file, save_file

from service.radiograph import PixelGrid, resize_to_grid
from training.architecture import GRID, build_vision_tower
from training.data.ct_radiographs.generate import FilmRecord, read_records
from training.stages.muon import Muon

CLASSES = (
    "right lung",
    "left lung",
    "heart",
    "trachea",
    "aorta",
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
    "left upper lobe",
    "left lower lobe",
    "cardiomegaly",
    "pleural effusion",
    "pneumothorax",
    "consolidation",
    "nodule",
    "mass",
    "pacemaker",
    "endotracheal tube",
)
FAINT = ("consolidation", "nodule", "mass", "endotracheal tube")
"""Classes with few tokens each, or with little contrast."""

_STATE = "warm_up.pt"
_CROP, _GAMMA = 1 / 16, 0.25
_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


@dataclass(frozen=True)
class WarmUpConfig:
    """Knobs of the warm-up.

    Attributes
    ----------
    films
        Folder of the generated films.
    output
        Folder that receives ``tower.safetensors`` and the log.
    epochs, batch_size, seed
        As usual.
    matrix_rate, other_rate
        Peak learning rates of Muon (weight matrices) and AdamW (the rest).
    faint_weight
        How much more a token of a :data:`FAINT` class weighs than one without it.
    start
        Output folder of an earlier warm-up to go on from, with a schedule of its own.
    vary
        Whether every look at a film is at another crop and grey scale of it (:func:`varied`).
    """

    films: Path
    output: Path
    epochs: int = 3
    batch_size: int = 16
    matrix_rate: float = 2e-3
    other_rate: float = 2e-3
    seed: int = 0
    faint_weight: float = 3.0
    start: Path | None = None
    vary: bool = False


def pack_patches(pixels: np.ndarray, grid: PixelGrid = GRID) -> torch.Tensor:
    """Patches in the order and scale that Qwen2.5-VL's processor gives them.

    ``pixels`` is uint8 (rows, columns, 3) on the grid; the result is float32
    (patches, 3 * 2 * patch_size ** 2), patches of one merged token in a row.
    """
    p, m = grid.patch_size, grid.merge_size
    image = ((torch.from_numpy(pixels.copy()).float() / 255 - _MEAN) / _STD).permute(2, 0, 1)
    _, rows, columns = image.shape
    h, w = rows // p // m, columns // p // m
    image = image.view(3, h, m, p, w, m, p).permute(1, 4, 2, 5, 0, 3, 6)
    patches = image.reshape(h * w * m * m, 3, 1, p * p).expand(-1, 3, 2, p * p)
    return patches.reshape(h * w * m * m, -1)


Regions = Sequence[tuple[str, tuple[float, float, float, float]]]
"""Class and x_min, y_min, x_max, y_max in the film's pixels."""


def read_film(record: FilmRecord, folder: Path) -> tuple[np.ndarray, Regions]:
    """Pixels of a generated film and what is on it."""
    named = [(region.name, region.box) for region in record.structures + record.devices]
    named += [(finding.kind, finding.box) for finding in record.findings]
    return np.asarray(Image.open(folder / record.path)), named


def varied(
    pixels: np.ndarray, regions: Regions, rng: np.random.Generator
) -> tuple[np.ndarray, Regions]:
    """A film collimated more closely, by up to a sixteenth at each edge, and exposed otherwise.

    What has lost more than half of its box is no longer on it.
    """
    height, width = pixels.shape[:2]
    left, right = (rng.uniform(0, _CROP, 2) * width).astype(int).tolist()
    top, bottom = (rng.uniform(0, _CROP, 2) * height).astype(int).tolist()
    width, height = width - left - right, height - top - bottom
    kept = []
    for name, (x0, y0, x1, y1) in regions:
        a, b = max(0, x0 - left), max(0, y0 - top)
        c, d = min(width, x1 - left), min(height, y1 - top)
        if c > a and d > b and 2 * (c - a) * (d - b) >= (x1 - x0) * (y1 - y0):
            kept.append((name, (a, b, c, d)))
    greys = 255 * (np.arange(256) / 255) ** np.exp(rng.uniform(-_GAMMA, _GAMMA))
    cropped = pixels[top : top + height, left : left + width]
    return greys.round().astype(np.uint8)[cropped], kept


class FilmTruth:
    """A film on the model's grid with its dense targets."""

    def __init__(self, pixels: np.ndarray, regions: Regions) -> None:
        height, width = pixels.shape[:2]
        self.pixels = resize_to_grid(pixels, GRID)
        rows, columns = self.pixels.shape[:2]
        cell = GRID.patch_size * GRID.merge_size
        self.grid_thw = (1, rows // GRID.patch_size, columns // GRID.patch_size)
        h, w = rows // cell, columns // cell
        coverage = torch.zeros(len(CLASSES), h, w)
        boxes = torch.zeros(len(CLASSES), h, w, 4)
        y0, x0 = torch.arange(h)[:, None] / h, torch.arange(w)[None] / w
        # Larger boxes first, so that where two of a class overlap the smaller one is kept.
        for name, box in sorted(
            regions, key=lambda item: -(item[1][2] - item[1][0]) * (item[1][3] - item[1][1])
        ):
            index = CLASSES.index(name)
            edges = torch.tensor(
                [
                    box[0] / width,
                    box[1] / height,
                    box[2] / width,
                    box[3] / height,
                ]
            )
            across = (torch.minimum(x0 + 1 / w, edges[2]) - torch.maximum(x0, edges[0])).clamp(0)
            down = (torch.minimum(y0 + 1 / h, edges[3]) - torch.maximum(y0, edges[1])).clamp(0)
            part = across * w * down * h
            inside = part > 0.08
            coverage[index] = torch.where(inside, part.clamp(min=0.3), coverage[index])
            boxes[index][inside] = edges
        self.coverage = coverage.view(len(CLASSES), -1).T
        self.boxes = boxes.view(len(CLASSES), -1, 4).transpose(0, 1)
        self.places = torch.stack(
            [(x0 + 0.5 / w).expand(h, w), (y0 + 0.5 / h).expand(h, w)], -1
        ).view(-1, 2)


class DenseHeads(torch.nn.Module):
    """Linear read-outs of a visual token: coverage, box edges by class, and its own place."""

    def __init__(self, width: int, faint_weight: float) -> None:
        super().__init__()
        weights = torch.ones(len(CLASSES))
        weights[CLASSES.index("cardiomegaly") :] = 3.0
        weights[[CLASSES.index(name) for name in FAINT]] = faint_weight
        self.register_buffer("weights", weights, persistent=False)
        self.coverage = torch.nn.Linear(width, len(CLASSES))
        self.boxes = torch.nn.Linear(width, len(CLASSES) * 4)
        self.places = torch.nn.Linear(width, 2)
        torch.nn.init.constant_(self.coverage.bias, -2.0)
        torch.nn.init.constant_(self.boxes.bias, 0.5)
        torch.nn.init.constant_(self.places.bias, 0.5)

    def losses(self, tokens: torch.Tensor, films: list[FilmTruth]) -> dict[str, torch.Tensor]:
        """Loss of each read-out over the tokens of the films, in order."""
        coverage = torch.cat([film.coverage for film in films])
        boxes = torch.cat([film.boxes for film in films])
        places = torch.cat([film.places for film in films])
        predicted = self.boxes(tokens).view(-1, len(CLASSES), 4)
        inside = coverage > 0
        return {
            "coverage": F.binary_cross_entropy_with_logits(
                self.coverage(tokens), coverage, pos_weight=self.weights
            )
            * 4,
            "boxes": F.smooth_l1_loss(predicted[inside], boxes[inside], beta=0.02) * 6,
            "places": F.smooth_l1_loss(self.places(tokens), places, beta=0.02),
        }


def warm_up(config: WarmUpConfig) -> None:
    """Train the tower and write ``tower.safetensors``; resumes from the last finished epoch.

    Raises
    ------
    FileNotFoundError
        When the films were not generated.
    """
    torch.manual_seed(config.seed)
    config.output.mkdir(parents=True, exist_ok=True)
    films = [read_film(record, config.films) for record in read_records(config.films, "train")]
    held_out = [
        FilmTruth(*read_film(record, config.films))
        for record in read_records(config.films, "validate")
    ]
    tower = build_vision_tower(seed=config.seed)
    heads = DenseHeads(tower.config.out_hidden_size, config.faint_weight)
    if config.start is not None:
        earlier = torch.load(config.start / _STATE, weights_only=False)
        tower.load_state_dict(earlier["tower"])
        heads.load_state_dict(earlier["heads"])
    matrices = [p for name, p in tower.named_parameters() if p.ndim == 2 and "merger" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in [*tower.parameters(), *heads.parameters()] if id(p) not in chosen]
    optimizers = [
        Muon(matrices, lr=config.matrix_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=config.other_rate, weight_decay=0.01),
    ]
    steps = config.epochs * (len(films) // config.batch_size)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=optimizer.param_groups[0]["lr"],
            total_steps=steps,
            pct_start=0.06,
            cycle_momentum=False,
        )
        for optimizer in optimizers
    ]
    state_file = config.output / _STATE
    done = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        tower.load_state_dict(state["tower"])
        heads.load_state_dict(state["heads"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        done = state["epoch"]
    log = (config.output / "warm_up.jsonl").open("a")
    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[loss]}")) as progress:
        per_epoch = len(films) // config.batch_size
        task = progress.add_task("warm-up", total=steps, completed=done * per_epoch, loss="")
        for epoch in range(done, config.epochs):
            rng = np.random.default_rng([config.seed, epoch])
            order = rng.permutation(len(films))
            started = time.monotonic()
            for step in range(per_epoch):
                chosen_films = order[step * config.batch_size : (step + 1) * config.batch_size]
                looks = [varied(*films[i], rng) if config.vary else films[i] for i in chosen_films]
                batch = [FilmTruth(*look) for look in looks]
                losses = heads.losses(_see(tower, batch), batch)
                total = sum(losses.values(), torch.zeros(()))
                total.backward()
                torch.nn.utils.clip_grad_norm_([*tower.parameters(), *heads.parameters()], 1.0)
                for optimizer, schedule in zip(optimizers, schedules, strict=True):
                    optimizer.step()
                    optimizer.zero_grad()
                    schedule.step()
                if step % 25 == 0:
                    line = {"epoch": epoch, "step": step} | {
                        name: round(float(loss), 4) for name, loss in losses.items()
                    }
                    log.write(json.dumps(line | {"seconds": time.monotonic() - started}) + "\n")
                    log.flush()
                progress.update(task, advance=1, loss=f"{float(total):.3f}")
            measured = validate(tower, heads, held_out, config.batch_size)
            log.write(json.dumps({"epoch": epoch, "validate": measured}) + "\n")
            log.flush()
            # The tower first, and both whole: a run that is killed in between repeats this epoch.
            _save_whole(tower, config.output / "tower.safetensors")
            partial = state_file.with_name(f".{state_file.name}.partial")
            torch.save(
                {
                    "tower": tower.state_dict(),
                    "heads": heads.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "schedules": [schedule.state_dict() for schedule in schedules],
                    "epoch": epoch + 1,
                },
                partial,
            )
            partial.replace(state_file)


def _save_whole(tower: torch.nn.Module, file: Path) -> None:
    partial = file.with_name(f".{file.name}.partial")
    save_file(tower.state_dict(), partial)
    partial.replace(file)


def load_tower(model: torch.nn.Module, folder: Path) -> None:
    """Put a warmed-up tower into a model built by ``training.architecture``."""
    model.model.visual.load_state_dict(load_file(folder / "tower.safetensors"))


def _see(tower: torch.nn.Module, films: list[FilmTruth]) -> torch.Tensor:
    patches = torch.cat([pack_patches(film.pixels) for film in films])
    return tower(patches, grid_thw=torch.tensor([film.grid_thw for film in films])).pooler_output


@torch.no_grad()
def validate(
    tower: torch.nn.Module, heads: DenseHeads, films: list[FilmTruth], batch_size: int
) -> dict[str, float]:
    """Token-level F1 of coverage for findings, and mean box error inside, on held-out films."""
    hits = np.zeros((3, len(CLASSES)))
    errors: list[list[float]] = [[] for _ in CLASSES]
    for start in range(0, len(films), batch_size):
        batch = films[start : start + batch_size]
        tokens = _see(tower, batch)
        truth = torch.cat([film.coverage for film in batch]) > 0.5
        said = heads.coverage(tokens) > 0
        hits += torch.stack([(truth & said).sum(0), truth.sum(0), said.sum(0)]).numpy()
        boxes = torch.cat([film.boxes for film in batch])
        error = (heads.boxes(tokens).view(-1, len(CLASSES), 4) - boxes).abs().mean(-1)
        for index in range(len(CLASSES)):
            errors[index] += error[:, index][truth[:, index]].tolist()
    both, true, found = hits
    scores = 2 * both / np.maximum(true + found, 1)
    return {f"f1 {name}": round(float(s), 3) for name, s in zip(CLASSES, scores, strict=True)} | {
        f"error {name}": round(float(np.mean(e)), 4)
        for name, e in zip(CLASSES, errors, strict=True)
        if e
    }
