"""A search over hyperparameters, of which every candidate, fold and seed is a member."""


class StackSearchCV:
    """Later."""
