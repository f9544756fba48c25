from run_fixtures import zoo

__all__ = ["zoo"]
