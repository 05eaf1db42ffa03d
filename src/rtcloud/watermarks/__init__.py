"""Pictures that an application keeps for use as watermarks."""
