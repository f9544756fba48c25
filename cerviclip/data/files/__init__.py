"""Files and folders of users: scan them, list them, name them, compare their content."""
