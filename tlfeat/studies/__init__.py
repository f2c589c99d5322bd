"""Studies: a dataset and the runs to compare on it, in one TOML file."""
