"""Live-audio sessions for smart glasses and phones: audio that comes back."""

__version__ = "0.2.0"
