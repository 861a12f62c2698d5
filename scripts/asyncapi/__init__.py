"""Makes the AsyncAPI document of Sluice's messages from their models and from the table of who sends what to whom."""
