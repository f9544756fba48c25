"""Many runs: workers, progress, what is finished, and the files beside the runs."""
