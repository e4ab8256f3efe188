"""typer only: one thin file a command group, which parses, calls one function, renders and exits."""
