"""Many runs: executors, progress, what is finished, and the files beside the runs."""
