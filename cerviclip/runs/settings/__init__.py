"""What a run or a sweep is asked for: flags, yaml files, the configuration, the sweep's plan."""
