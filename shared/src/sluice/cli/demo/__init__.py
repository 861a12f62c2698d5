"""`sluice demo`: the same questions, asked by two people who may not know the same."""
