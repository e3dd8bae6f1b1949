"""Runs on Ray Train: who starts the workers, where, and again. All that knows Ray Train's insides is here.

Ray Train 2.60 places workers, watches them and starts them anew. It offers no public place for what is decided here, so
these modules use its policies and callbacks where they stand; `tests/training/driving` notices when they move.
"""
