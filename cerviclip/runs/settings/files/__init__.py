"""The yaml files, class maps, draws and folders that a configuration names."""
