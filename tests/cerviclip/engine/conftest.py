from engine_fixtures import _one_thread, tiny

__all__ = ["_one_thread", "tiny"]
