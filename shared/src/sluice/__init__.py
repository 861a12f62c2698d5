"""What two of Sluice's services must agree on, and the command sluice."""
