"""Batches of token ids and films; a frozen tower looks at every film only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from service.radiograph import PixelGrid
from training.stages.preflight import check_seen_films
from training.stages.text_targets import shown_film
from training.stages.warm_up import pack_patches

Shape = tuple[int, int, int]
Sizes = Mapping[str, tuple[int, int]]
_NONE_KNOWN: Sizes = {}


class SeenFilms:
    """What the vision tower makes of films; one that does not change looks at each only once.

    Parameters
    ----------
    tower
        The vision tower, merger included; frozen when none of its parameters needs a gradient.
    folder
        Folder that the films' paths are relative to.
    grid
        The checkpoint's.
    sizes
        Width and height in original pixels that films' boxes were drawn on, by path.
    """

    def __init__(
        self, tower: torch.nn.Module, folder: Path, grid: PixelGrid, sizes: Sizes = _NONE_KNOWN
    ) -> None:
        self._tower = tower
        self._folder = folder
        self._grid = grid
        self._sizes = sizes
        self._frozen = not any(p.requires_grad for p in tower.parameters())
        self._seen: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, Shape] = {}
        self._latest: dict[str, tuple[torch.Tensor, Shape]] = {}

    def patches(self, film: str) -> tuple[torch.Tensor, Shape]:
        """Patches of a film as the tower takes them, and their number: frames, rows, columns."""
        pixels = shown_film(self._folder, film, self._grid, self._sizes.get(film))
        rows, columns = pixels.shape[:2]
        size = self._grid.patch_size
        return pack_patches(pixels, self._grid), (1, rows // size, columns // size)

    def look(
        self, films: Sequence[str], tower: torch.nn.Module | None = None
    ) -> tuple[list[torch.Tensor], list[Shape]]:
        """Visual tokens of each film, (tokens, width), and its patches' shape.

        Parameters
        ----------
        tower
            Where the tower learns, the one to look through: the reference model has its own.
        """
        if not self._frozen:
            return self._look_again(films, self._tower if tower is None else tower)
        for film in dict.fromkeys(films):
            if film not in self._seen:
                patches, shape = self.patches(film)
                with torch.no_grad():
                    (self._seen[film],) = _look(self._tower, [patches], [shape])
                self._shapes[film] = shape
        return [self._seen[film] for film in films], [self._shapes[film] for film in films]

    def _look_again(
        self, films: Sequence[str], tower: torch.nn.Module
    ) -> tuple[list[torch.Tensor], list[Shape]]:
        different = list(dict.fromkeys(films))
        # A step looks at its films several times: to sample, for the reference, to learn.
        self._latest = {
            film: self._latest[film] if film in self._latest else self.patches(film)
            for film in different
        }
        packed, shapes = zip(*self._latest.values(), strict=True)
        seen = dict(zip(different, _look(tower, packed, shapes), strict=True))
        return [seen[film] for film in films], [self._latest[film][1] for film in films]


def _look(
    tower: torch.nn.Module, packed: Sequence[torch.Tensor], shapes: Sequence[Shape]
) -> list[torch.Tensor]:
    weight = next(tower.parameters())
    seen = tower(
        torch.cat(list(packed)).to(weight.device, weight.dtype),
        grid_thw=torch.tensor(shapes, device=weight.device),
    ).pooler_output
    patches = sum(len(some) for some in packed)
    return list(seen.split([len(some) * len(seen) // patches for some in packed]))


class FilmCollator:
    """Pads rows to one length and adds their films, as pixels or as the frozen tower saw them.

    Parameters
    ----------
    model
        Whose tower it is; frozen when none of its parameters needs a gradient.
    folder
        Folder that the rows' paths are relative to.
    grid
        The checkpoint's.
    sizes
        As of :class:`SeenFilms`.
    keep_seen
        Whether what a frozen tower saw is kept; where not, the tower looks every time.
    check
        Is shown every batch, and may refuse it.
    """

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        folder: Path,
        grid: PixelGrid,
        *,
        sizes: Sizes = _NONE_KNOWN,
        keep_seen: bool = True,
        check: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        tower = model.model.visual
        self._films = SeenFilms(tower, folder, grid, sizes)
        self._image_token = model.config.image_token_id
        self._padding = model.config.text_config.pad_token_id
        self._kept = keep_seen and not any(p.requires_grad for p in tower.parameters())
        if self._kept:
            check_seen_films()
        self._check = check

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the model's inputs, right-padded, with labels."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self._padding or 0)
        labels = torch.full((len(rows), longest), -100)
        attention = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[index, :length] = torch.tensor(row["input_ids"])
            labels[index, :length] = torch.tensor(row["labels"])
            attention[index, :length] = 1
        films = [film for row in rows for film in row["films"]]
        batch: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": attention,
            "labels": labels,
            "mm_token_type_ids": (ids == self._image_token).int(),
        }
        if self._check is not None:
            self._check(batch)
        if self._kept:
            seen, shapes = self._films.look(films)
            batch["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=seen)}
        else:
            packed, shapes = zip(*(self._films.patches(film) for film in films), strict=True)
            batch["pixel_values"] = torch.cat(packed)
        batch["image_grid_thw"] = torch.tensor(shapes)
        return batch
