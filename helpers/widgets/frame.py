"""Figures that change quickly: axes are drawn once, and only the data anew."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable

import numpy
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

from ..plotting.labels import place_labels


class Frame:
    """A figure with fixed axes, of which the pixels are kept.

    Nine tenths of the time of a small figure go into ticks and labels. They stay the same while a
    slider moves, so they are drawn once (matplotlib calls this blitting).
    """

    def __init__(self, figure: Figure, dpi: int = 100) -> None:
        self.figure = figure
        figure.set_dpi(dpi)
        figure.canvas.draw()
        self._empty = figure.canvas.copy_from_bbox(figure.bbox)
        # Callbacks and cells may run on different threads.
        self._lock = threading.Lock()

    def render(self, artists: Iterable[Artist]) -> bytes:
        """The frame with these artists on it, as PNG; the artists are taken off again."""
        artists = list(artists)
        with self._lock:
            artists += place_labels(self.figure, laid_out=True)
            self.figure.canvas.restore_region(self._empty)
            for artist in artists:
                artist.axes.draw_artist(artist)
            pixels = numpy.array(self.figure.canvas.buffer_rgba())  # a copy
            for artist in artists:
                artist.remove()
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert("RGB").save(buffer, "png", compress_level=1)
        return buffer.getvalue()
