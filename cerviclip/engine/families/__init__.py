"""The bases of families of methods: one for each way to adapt a model."""
