"""The films with the reasoning drawn on them: numbered boxes and a legend."""

from service.results.overlay.picture import overlay_png

__all__ = ["overlay_png"]
