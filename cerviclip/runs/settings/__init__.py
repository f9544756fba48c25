"""Settings of a run or a sweep: flags, yaml files, the configuration, the sweep's plan."""
