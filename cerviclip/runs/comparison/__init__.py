"""Methods, readers and subgroups beside each other, paired by patients."""
