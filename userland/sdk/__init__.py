"""What a person writes a program against: decorators, typed handles, and the whole table behind them."""
