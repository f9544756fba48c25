"""The tissue's region of interest: where it comes from, how it follows transforms, its store."""
