"""How much zero-shot accuracy depends on the wording: every template and prompt set, scored."""
