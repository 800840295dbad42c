"""Tables: the jobs behind them, what they add up to, and how they are shown."""
