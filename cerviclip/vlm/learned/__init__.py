"""What learns inside a tower while the rest is frozen: LoRA, prompts, scales of weights."""
