"""Vision and text towers of each library behind one interface."""
