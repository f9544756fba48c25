"""Files and folders of users: scanned, listed, named, compared by their content."""
