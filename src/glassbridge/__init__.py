"""Live-audio sessions for smart glasses and phones: audio that comes back."""

__version__ = "0.1.0"
