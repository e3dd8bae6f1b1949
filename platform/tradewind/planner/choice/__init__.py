"""How a plan is found: kinds of machines among offers, options of each kind, what they take, which limits they keep."""
