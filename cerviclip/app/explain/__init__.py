"""Where in an image a run's model finds what speaks for a class, and how far to trust the map.

    from cerviclip.app.explain import explain, methods_of

    methods_of(predictor)                             # ["gradcam", "scorecam", ...]
    heat = explain(predictor, image, "HSIL")          # (H, W) in 0-1, on the image

Research use only: a map says what the model used, not what is in the tissue.
"""

from cerviclip.app.explain.details import Explanation, explain, explain_details, methods_of

__all__ = ["Explanation", "explain", "explain_details", "methods_of"]
