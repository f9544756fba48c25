"""Centres: external ones that a model is scored on, and several data sets as one."""
