"""Heat maps: which places of an image raise a class's score, and how faithful the map is.

    from cerviclip.app.explain import explain, methods_of

    methods_of(predictor)                             # ["gradcam", "scorecam", ...]
    heat = explain(predictor, image, "HSIL")          # (H, W) in 0-1, on the image

Research use only: a map says what the model used, not what is in the tissue.
"""

from cerviclip.app.explain.details import Explanation, explain, explain_details, methods_of

__all__ = ["Explanation", "explain", "explain_details", "methods_of"]
