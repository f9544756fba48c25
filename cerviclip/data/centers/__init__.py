"""Centres: external centres on which a model is scored, and several data sets joined as centres."""
