"""Learned parts inside a frozen tower: LoRA, prompts, scales of weights."""
