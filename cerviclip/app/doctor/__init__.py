"""``cerviclip doctor``: what this machine has and lacks for the project."""
