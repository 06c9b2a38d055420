"""What every room may use: sources and errors, scalar types, layouts, target facts."""
