"""How much zero-shot accuracy hangs on the wording: every template and prompt set of a data set."""
