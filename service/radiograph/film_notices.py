"""Codes of every notice that opening a film can raise; docs/errors.md tells what they mean."""

from __future__ import annotations

FILM_NOTICES = (
    "alpha-flattened",
    "anatomy-overridden",
    "bit-depth-mismatch",
    "burned-in-annotation",
    "colour-image",
    "fallback-window",
    "first-frame",
    "for-processing",
    "lateral-view",
    "modality-lut-unusable",
    "orientation-corrected",
    "patient-orientation-unreadable",
    "pixel-aspect-corrected",
    "pixel-aspect-ignored",
    "presentation-lut-contradiction",
    "rescale-ignored",
    "secondary-capture",
    "voi-function-unknown",
    "voi-lut-depth-corrected",
    "voi-lut-first-mapped-corrected",
    "voi-lut-length-corrected",
    "voi-lut-unusable",
    "window-skipped",
)
